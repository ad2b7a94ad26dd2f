"""Which Ray cluster may be joined. Whoever can reach one can run any code on it.

So a cluster on other machines has to ask for a token (``RAY_AUTH_MODE=token``), or the user has to
say that nobody else is on the network. One that is started here asks for a token too: others may
be at work on this machine.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from functools import cache

from fabrika._errors import UsageError

TRUST = "FABRIKA_TRUST_NETWORK"
"""The environment variable that stands for ``--i-trust-this-network``: "1"."""
PATIENCE = 60.0
"""How long a cluster may take to send a stranger away [s]."""
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def cluster_address(environment: MutableMapping[str, str] = os.environ) -> str:
    """The address of the cluster to join; "local" if one has to be started, with a token.

    Nothing is contacted. Raises `UsageError` for a cluster that nothing protects.
    """
    address = environment.get("RAY_ADDRESS", "") or "local"
    if address.startswith("ray://"):
        raise UsageError(
            f"RAY_ADDRESS={address}: a Ray client cannot run scenarios. Run this on a machine of "
            "the cluster, with RAY_ADDRESS=HOST:6379."
        )
    mode = environment.get("RAY_AUTH_MODE", "").lower()
    trusted = mode == "token" or environment.get(TRUST) == "1"
    if address == "local":
        # Ray asks for a token unless told not to; its own would be in a file that all may read.
        if mode != "disabled" and not any(map(environment.get, _TOKENS)):
            environment[_TOKENS[0]] = _own_token()
    elif not trusted and not _is_loopback(address):
        raise UsageError(_refusal(f"RAY_ADDRESS={address}: the cluster"))
    return address


@cache
def _own_token() -> str:
    """One for the whole life of this process: Ray reads it once."""
    return secrets.token_hex(32)


def require_closed(address: str, environment: Mapping[str, str] = os.environ) -> None:
    """Ask a cluster on other machines for its status without a token: it must not answer.

    A token here proves nothing: a cluster that asks for none ignores it. Raises `UsageError`.
    """
    if address == "local" or _is_loopback(address) or environment.get(TRUST) == "1":
        return
    stranger = {name: value for name, value in environment.items() if "RAY_AUTH" not in name}
    stranger["RAY_AUTH_MODE"] = "disabled"
    ask = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    quiet = subprocess.DEVNULL
    with suppress(subprocess.TimeoutExpired):  # no answer: joining it will say so
        run = subprocess.run(ask, env=stranger, stdout=quiet, stderr=quiet, timeout=PATIENCE)
        if run.returncode == 0:
            raise UsageError(_refusal(f"RAY_ADDRESS={address}: the cluster"))


def _is_loopback(address: str) -> bool:
    """True of "127.0.0.1:6379"; not of "auto", which may be anywhere."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(what: str) -> str:
    return (
        f"{what} asks nobody for a token, so anyone on the network could run code on it. Start it "
        "with RAY_AUTH_MODE=token and set that here too, or say --i-trust-this-network "
        f"({TRUST}=1)."
    )
