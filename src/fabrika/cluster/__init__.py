"""Many machines: jobs for shared clusters, and scenarios on the workers of a Ray cluster.

`ArrayJob` says what is to be done; `job_file` writes it down for Slurm, Kueue, SkyPilot or OSMO;
`submit_slurm` hands it over. Every share is a plain ``fabrika rollout`` of a contiguous range, so
that a share that is stopped, or run twice, does no harm: finished scenarios are not run again.

`RayExecutor` is what ``run_scenarios(..., executor="ray")`` uses; only then is Ray imported.
"""

from fabrika.cluster._formats import SYSTEMS, System, job_file, next_command
from fabrika.cluster._jobs import ArrayJob
from fabrika.cluster._ray import RayExecutor
from fabrika.cluster._slurm import submit_slurm

__all__ = [
    "SYSTEMS",
    "ArrayJob",
    "RayExecutor",
    "System",
    "job_file",
    "next_command",
    "submit_slurm",
]
