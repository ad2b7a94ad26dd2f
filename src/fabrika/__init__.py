"""Fabrika: the physical AI factory that its owner controls."""
