"""Many machines: scenarios on the workers of a Ray cluster.

Ray is imported only when a `RayExecutor` is made: ``run_scenarios(..., executor="ray")``.
"""

from __future__ import annotations

from fabrika.cluster._ray import RayExecutor

__all__ = ["RayExecutor"]
