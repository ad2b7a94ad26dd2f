"""What works on this machine, and what to do about what does not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, get_args

from fabrika._errors import FabrikaError, ResourceError
from fabrika._registry import PluginKind, known, load
from fabrika.cli._options import cores

Finding = dict[str, Any]
"""name, ok, found, next (what to do; empty if ok), needed (a run needs it)."""

ENOUGH_MEMORY, ENOUGH_DISK = 4 << 30, 10 << 30
"""What a run may take at most [B]."""

_RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='.3' rgba='1 0 0 1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data)
    assert renderer.render().std() > 1, "the picture is empty"
print(mujoco.__version__)
"""


def examine() -> list[Finding]:
    """Everything that is looked at, in the order in which it is printed."""
    return [
        _python(),
        *_packages(),
        _cores(),
        _memory(),
        _disk(),
        _offscreen_gl(),
        *_encoders(),
        *_plugins(),
    ]


def _finding(name: str, ok: bool, found: str, next_: str, *, needed: bool = True) -> Finding:
    return {
        "name": name,
        "ok": ok,
        "found": found,
        "next": "" if ok else next_,
        "needed": needed,
    }


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    ok = sys.version_info >= (3, 11)
    return _finding("python", ok, found, "install Python 3.11 or newer, then `make run`")


def _packages() -> Iterator[Finding]:
    """Every package that the extra "all" asks for, without importing any."""
    import re

    wanted = {}
    for line in sorted(requires("fabrika") or ()):
        asked, _, marker = (part.strip() for part in line.partition(";"))
        name = re.split(r"[\[<>=!~ ]", asked)[0]
        if name != "fabrika" and ("extra" not in marker or "all" in marker):
            wanted[name] = asked
    for name, asked in wanted.items():
        try:
            yield _finding(name, True, version(name), "")
        except PackageNotFoundError:
            words = f"pip install '{asked}', or all at once: pip install 'fabrika[all]'"
            yield _finding(name, False, "not installed", words)


def _cores() -> Finding:
    return _finding("cores", True, f"{cores()} of {os.cpu_count()} usable", "")


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    ok = total >= ENOUGH_MEMORY
    words = "a run may take 4 GiB: use --workers 1, and close what else is open"
    return _finding("memory", ok, f"{total / 2**30:.1f} GiB", words, needed=False)


def _disk() -> Finding:
    free = shutil.disk_usage(Path()).free
    words = "a run takes up to 10 GiB: free some, or give an --out on another disk"
    return _finding("disk here", free >= ENOUGH_DISK, f"{free / 2**30:.1f} GiB free", words)


def _offscreen_gl() -> Finding:
    """Really renders, in a child: a GL that is broken may end its process."""
    problems = []
    for backend in dict.fromkeys([os.environ.get("MUJOCO_GL", "egl"), "egl", "osmesa"]):
        environment = {**os.environ, "MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
        try:
            child = subprocess.run(
                [sys.executable, "-c", _RENDER],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            problems.append(f"{backend}: nothing after 60 s")
            continue
        if child.returncode == 0:
            return _finding("offscreen GL", True, f"{backend} renders", "")
        lines = child.stderr.strip().splitlines()
        problems.append(f"{backend}: {lines[-1] if lines else f'exit {child.returncode}'}")
    words = (
        "no pictures, videos or cameras without it. As root: apt-get install libegl1 "
        "libgl1-mesa-dri; else: sudo apt-get install libegl1 libgl1-mesa-dri"
    )
    return _finding("offscreen GL", False, "; ".join(problems)[:300], words)


def _encoders() -> Iterator[Finding]:
    """H.264 for videos and exports, really used; AV1 only named."""
    try:
        import numpy as np

        from fabrika.release import encode_h264

        size = len(encode_h264([np.zeros((64, 64, 3), np.uint8)] * 3, 10))
        yield _finding("H.264 encoder", True, f"libx264 wrote {size} bytes", "")
    except Exception as error:  # whatever a broken codec raises is the finding
        words = "pip install --force-reinstall av: its wheels carry the encoder"
        yield _finding("H.264 encoder", False, f"{type(error).__name__}: {error}", words)


def _plugins() -> Iterator[Finding]:
    """Every plug-in, really loaded."""
    for kind in get_args(PluginKind):
        loaded = []
        for name, where in known(kind).items():
            try:
                load(kind, name)
                loaded.append(name)
            except ResourceError as error:  # of an extra that is not in "all"
                words = "install what it names, or do without"
                yield _finding(f"{kind}: {name}", False, str(error), words, needed=False)
            except (FabrikaError, Exception) as error:  # a plug-in may raise anything
                words = f"mend or uninstall the package that holds {where}"
                ours = where.startswith("fabrika.")
                yield _finding(f"{kind}: {name}", False, str(error), words, needed=ours)
        if loaded:
            yield _finding(kind, True, ", ".join(loaded), "")
