"""The folder of a run: what it was started for, who may write to it, what each stage took."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fabrika._disk import write_whole
from fabrika._errors import BusyError, IntegrityError, UsageError, VersionError, in_words
from fabrika._ledger import Entry, account
from fabrika.cli._options import cores

FORMAT = 1
"""Version of run.json. Read: this one. Written: this one."""
CLAIM: Mapping[str, Any] = {"task": str, "seed": int, "sensors": str, "settings": dict}
"""What must be equal for a run to be gone on with, and what each is."""
SETTINGS: Mapping[str, Any] = {
    "episodes": int,
    "train_seconds": float | int | None,
    "train_steps": int | None,
    "validate": int,
}
"""What is in its settings."""
PACKAGES = ("fabrika", "numpy", "mujoco", "torch", "onnxruntime", "pyarrow", "av")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that one run owns."""

    path: Path
    manifest: Mapping[str, Any]

    def stage(self, name: str) -> AbstractContextManager[Entry]:
        """One row of the ledger for what happens inside, however it ends."""
        return account(self.path, stage=name, task=str(self.manifest["task"]))


@contextmanager
def open_run(path: Path, claim: Mapping[str, Any], command: str) -> Iterator[RunFolder]:
    """The run folder for ``claim`` (task, seed, sensors, settings): new, or to be gone on with.

    Raises `UsageError` if the folder holds something else or another run, `VersionError` if other
    versions made it, `BusyError` if another process works in it.
    """
    file = path / "run.json"
    if file.exists():
        manifest = read_manifest(path)
        _require_same(path, manifest, claim)
    elif path.exists() and (
        not path.is_dir() or any(entry.name != "lock" for entry in path.iterdir())
    ):
        raise UsageError(
            f"{path} exists and is not a run (it has no run.json). Choose another --out."
        )
    else:
        manifest = _new_manifest(claim, command)
        path.mkdir(parents=True, exist_ok=True)
    with held(path):
        if not file.exists():
            write_json(file, manifest)
        yield RunFolder(path, manifest)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds a run's folder against all others. Raises `BusyError` at once."""
    with (path / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"another process works in {path}. Wait for it, or use another --out."
            ) from error
        yield


def read_manifest(path: Path) -> dict[str, Any]:
    """run.json. Raises `UsageError` if there is none, `VersionError` for another format."""
    file = path / "run.json"
    if not file.is_file():
        raise UsageError(
            f"{path} is not a run: it has no run.json. `fabrika list runs` lists runs."
        )
    try:
        manifest = json.loads(file.read_text())
        form, made_by = manifest["format"], manifest["versions"]["fabrika"]
        wrong = [name for name, kinds in CLAIM.items() if not isinstance(manifest[name], kinds)]
        settings = manifest["settings"]
        wrong += [n for n, kinds in SETTINGS.items() if not isinstance(settings[n], kinds)]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{file} cannot be read: {in_words(error)}.") from error
    if form != FORMAT:
        raise VersionError(
            f"{path} has format {form}; this version of Fabrika reads {FORMAT}. It was made by "
            f"fabrika {made_by}: use that one, or another --out."
        )
    if wrong:
        raise IntegrityError(f"{file} is not what was written: see its {', '.join(wrong)}.")
    return dict(manifest)


def write_json(path: Path, data: Any) -> None:
    """Write a file that is there whole or not at all."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, text.encode())


def _new_manifest(claim: Mapping[str, Any], command: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **claim,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "hardware": hardware(),
    }


def hardware() -> dict[str, Any]:
    """The machine that a figure was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": cores(),
        "memory": f"{memory / 2**30:.1f} GiB",
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _require_same(path: Path, manifest: Mapping[str, Any], claim: Mapping[str, Any]) -> None:
    for name, wanted in claim.items():
        if manifest.get(name) != wanted:
            raise UsageError(
                f"{path} is a run with {name} {_words(manifest.get(name))}, not {_words(wanted)}. "
                f"Go on with it by its own command ({manifest.get('command')}), or choose "
                "another --out."
            )
    ours, theirs = _versions(), manifest["versions"]
    changed = [
        f"{name} {theirs.get(name, 'none')}, here {ours[name]}"
        for name in ours
        if theirs.get(name, "none") != ours[name]
    ]
    if changed:
        raise VersionError(
            f"{path} was made by other versions ({'; '.join(changed)}): what is there would not "
            "fit what is to come. Install those again, or choose another --out."
        )


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    return repr(value)
