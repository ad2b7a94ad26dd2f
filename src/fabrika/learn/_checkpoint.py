"""Checkpoints: one safetensors file, swapped in whole; the last two are kept.

The tensors are ``weight/*``, ``average/*`` (the moving average that is exported) and the
moments of the optimiser, ``first/*`` and ``second/*``. The metadata is JSON: the card, the
recipe, the step, the digest of the data, the curve. There is no state of any generator: every
random number of step s is drawn from (seed, s), so that s is the sampler's position too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fabrika._disk import disk_errors, flush, write_whole
from fabrika._errors import IntegrityError, UsageError, VersionError

FORMAT = 1
"""Version of the checkpoint. Read: this one. Written: this one."""
NAME = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that training needs to go on as if it had never stopped."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    """Plain data: card, recipe, step, data, threads, curve, versions."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write, flush to disk, and swap in; the one before stays as ``checkpoint.previous``.

    ``checkpoint.json`` repeats the metadata for people and lists; training never reads it.
    """
    text = json.dumps({"format": FORMAT, **checkpoint.facts}, sort_keys=True)
    plain = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
    data, target = save(plain, metadata={"fabrika.checkpoint": text}), folder / NAME
    staged = folder / f".{NAME}.part"
    with disk_errors(target):
        write_whole(staged, data, "checkpoint")
        if target.exists():
            target.replace(folder / PREVIOUS)
        staged.replace(target)
        flush(folder)
        (folder / "checkpoint.json").write_text(json.dumps(json.loads(text), indent=2) + "\n")


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint of a file, or the newest of a training folder. Tensors on the CPU.

    Raises `UsageError` if there is none, `IntegrityError` if it was altered, `VersionError`.
    """
    if path.is_dir():
        # Between the two renames of a swap only the one before is there.
        path = path / NAME if (path / NAME).exists() else path / PREVIOUS
    if not path.is_file():
        raise UsageError(f"there is no checkpoint at {path}. Train first.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            facts = json.loads(file.metadata()["fabrika.checkpoint"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        version = facts.pop("format")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{path} is not a whole checkpoint: {error}. Move it away to go on from the one "
            f"before ({PREVIOUS}), or train again."
        ) from error
    if version != FORMAT:
        raise VersionError(f"{path} has format {version}; this version reads {FORMAT}.")
    return Checkpoint(tensors, facts)


def has_checkpoint(folder: Path) -> bool:
    """True if training in this folder can go on."""
    return (folder / NAME).is_file() or (folder / PREVIOUS).is_file()


def versions() -> dict[str, str]:
    """What trained bits depend on."""
    return {"torch": str(torch.__version__), "capability": torch.backends.cpu.get_cpu_capability()}
