"""Joules, where the machine counts them: Linux powercap (RAPL), the whole processor package.

The counters are the machine's, not a process's: what else runs meanwhile is in them. Many systems
let only root read them, and virtual machines have none; then there are no joules, rather than
guessed ones.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Joules since it was made. It must be read before a counter comes round twice."""

    def __init__(self, root: Path | None = None) -> None:
        self._domains = {path: _number(path / "energy_uj") for path in _packages(root or POWERCAP)}
        self._microjoules = 0

    def joules(self) -> float | None:
        """Of all packages together [J]; None if there is a counter missing, or there is none."""
        for path, before in self._domains.items():
            now = _number(path / "energy_uj")
            if now is None or before is None:
                self._domains[path] = None
                continue
            used = now - before
            if used < 0:  # it starts again after max_energy_range_uj
                used += _number(path / "max_energy_range_uj") or 0
            self._microjoules += max(used, 0)
            self._domains[path] = now
        if not self._domains or None in self._domains.values():
            return None
        return self._microjoules / 1e6


def _packages(root: Path) -> list[Path]:
    """The counters of whole packages; cores and graphics are in them, psys is around them."""
    with suppress(OSError):
        paths = sorted(root.glob("intel-rapl:*"))
        return [path for path in paths if (path / "name").read_text().startswith("package")]
    return []


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
