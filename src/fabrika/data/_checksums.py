"""The SHA-256 of every file of a dataset: what finds a bit that no other check would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import Any

from fabrika.data._findings import Findings
from fabrika.data._layout import CHECKSUMS, PROVENANCE

WORDS = f"{CHECKSUMS}: the SHA-256 of every other file"
"""How the provenance promises them."""


def write_checksums(root: Path) -> None:
    """Write the checksums of all that is there."""
    found = {str(file.relative_to(root)): _sha256(file) for file in sorted(_files(root))}
    (root / CHECKSUMS).write_text(json.dumps({"sha256": found}, indent=2) + "\n", encoding="utf-8")


def check_checksums(root: Path, findings: Findings) -> None:
    """Compare them, where the dataset has or promises any: ours do, until somebody edits them."""
    told = _read(root / CHECKSUMS)
    sums = told.get("sha256") if isinstance(told, dict) else None
    if not isinstance(sums, dict):
        provenance = _read(root / PROVENANCE)
        promised = isinstance(provenance, dict) and provenance.get("checksums")
        if promised or (root / CHECKSUMS).exists():
            findings.add("file-checksum", CHECKSUMS, "it is missing, or cannot be read.")
        return
    there = {str(file.relative_to(root)): file for file in _files(root)}
    for name in sorted(sums.keys() - there.keys()):
        findings.add("file-checksum", name, "it is missing.")
    for name, file in sorted(there.items()):
        if name in sums and _sha256(file) != sums[name]:
            findings.add("file-checksum", name, "it is not what the export wrote.")


def _files(root: Path) -> Iterator[Path]:
    return (file for file in root.rglob("*") if file.is_file() and file != root / CHECKSUMS)


def _sha256(file: Path) -> str:
    """Of a file's content; empty if it cannot be read."""
    with suppress(OSError), file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()
    return ""


def _read(file: Path) -> Any:
    with suppress(OSError, ValueError, RecursionError):
        return json.loads(file.read_bytes())
    return None
