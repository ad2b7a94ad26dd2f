"""This process's session with Ray: joined once, left when the process ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any

from fabrika._errors import ResourceError
from fabrika.cluster._trust import cluster_address, require_closed

MEMORY = 128 << 20
"""Ray's object store on this machine [bytes]: nothing but short texts goes through it."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no word about this run leaves the machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns that it will do so one day
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # else Ray prints each worker's death on stdout
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""The only way to have Ray listen on 127.0.0.1 alone, and not on every interface: on Linux too."""
_own: dict[str, int] = {}
"""The cluster's address, and how many workers it was started for, if it was joined here."""


def join(workers: int) -> Any:
    """The module ``ray``, connected: to the session that is there, to RAY_ADDRESS, or to a new
    cluster on this machine with so many CPUs.

    Raises `UsageError` for a cluster that nothing protects, `ResourceError` if none answers.
    """
    address = "" if _foreign() else cluster_address()  # first: Ray reads its settings on import
    settings = {**_QUIET, **(_LOOPBACK if address == "local" else {})}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    import ray

    if not address:
        return ray
    if ray.is_initialized():
        if address in _own and (address != "local" or _own[address] >= workers):
            return ray
        leave(ray)
    require_closed(address)
    options: dict[str, Any] = {"address": address}
    if address == "local":
        options |= {"num_cpus": workers, "include_dashboard": False}
        options |= {"_node_ip_address": "127.0.0.1", "object_store_memory": MEMORY}
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ResourceError(
            f"no Ray cluster at RAY_ADDRESS={address} could be joined: {error}. `ray status` "
            "says what is there; without RAY_ADDRESS one is started on this machine."
        ) from error
    finally:
        if on_term is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)  # Ray took it
    _own[address] = workers
    return ray


def leave(ray: Any) -> None:
    """End the session, and the cluster if it was started here. The end of the process does it."""
    ray.shutdown()
    _own.clear()


def _foreign() -> bool:
    """True if whoever called has joined a cluster without us: then they have decided."""
    ray = sys.modules.get("ray")
    return ray is not None and not _own and ray.is_initialized()
