"""Datasets: accepted episodes out as LeRobot v3.0, and a strict checker for any such dataset."""

from fabrika.data._export import Exported, export_lerobot
from fabrika.data._findings import CODES, Finding, Report
from fabrika.data._narration import Narration, narrate
from fabrika.data._recorded import DatasetReplay
from fabrika.data._verify import verify_lerobot

__all__ = [
    "CODES",
    "DatasetReplay",
    "Exported",
    "Finding",
    "Narration",
    "Report",
    "export_lerobot",
    "narrate",
    "verify_lerobot",
]
