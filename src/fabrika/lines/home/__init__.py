"""Household tasks."""
