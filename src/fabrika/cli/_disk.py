"""Free space and what is there already, looked at before anything is written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from fabrika._errors import ResourceError, UsageError

EPISODE_BYTES = 3 << 20
"""What one stored episode takes, generously [B]."""
RESERVE_BYTES = 64 << 20
"""What must stay free beside it [B]."""


def require_space(folder: Path, episodes: int) -> None:
    """Raise `ResourceError` if the disk cannot hold that many more episodes."""
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    needed, free = episodes * EPISODE_BYTES + RESERVE_BYTES, shutil.disk_usage(place).free
    if free < needed:
        raise ResourceError(
            f"{place} has {free / 1e9:.2f} GB free and {episodes} episodes may need "
            f"{needed / 1e9:.2f} GB. Free some space, ask for fewer, or use another --out."
        )


def require_absent(folder: Path, what: str) -> None:
    """Raise `UsageError` if there is something already where ``what`` should go."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} exists: {what} is never mixed into what is there. "
            "Choose another --out, or move it away: `fabrika delete`."
        )


def kept(store: Path | None, indices: Sequence[int]) -> list[int]:
    """Those of the scenarios that a store holds already."""
    from fabrika._store import Store, is_store

    if store is None or not is_store(store):
        return []
    with Store.open(store) as found:
        missing = set(found.missing(indices))
    return [index for index in indices if index not in missing]
