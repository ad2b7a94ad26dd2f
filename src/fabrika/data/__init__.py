"""Datasets: accepted episodes out as LeRobot v3.0, and a strict checker for any such dataset."""

from fabrika.data._export import Exported, export_lerobot

__all__ = ["Exported", "export_lerobot"]
