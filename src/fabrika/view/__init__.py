"""An episode in the browser: a page on this machine, behind a token."""

from fabrika.view._clock import Clock
from fabrika.view._page import Page
from fabrika.view._scene import Film, Shape
from fabrika.view._story import Story, Watched

__all__ = ["Clock", "Film", "Page", "Shape", "Story", "Watched"]
