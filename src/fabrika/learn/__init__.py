"""Learning: from accepted episodes to one ``policy.onnx``, and from that file to an actor.

Training needs torch; running a policy needs ONNX Runtime only, and imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fabrika.learn._actor import OnnxPolicy, load_policy
    from fabrika.learn._card import Card
    from fabrika.learn._course import Recipe
    from fabrika.learn._export import export_policy
    from fabrika.learn._train import Progress, Summary, train

__all__ = [
    "Card",
    "OnnxPolicy",
    "Progress",
    "Recipe",
    "Summary",
    "export_policy",
    "load_policy",
    "train",
]

_PLACES = {
    "Card": "_card",
    "OnnxPolicy": "_actor",
    "Progress": "_train",
    "Recipe": "_course",
    "Summary": "_train",
    "export_policy": "_export",
    "load_policy": "_actor",
    "train": "_train",
}


def __getattr__(name: str) -> object:
    """Import on first use: the gate's workers load policies and never torch."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
