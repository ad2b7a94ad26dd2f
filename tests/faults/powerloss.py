"""What a disk may hold after the power went: every legal state, from a log of what was asked of it.

The model is that of ALICE (Pillai et al., OSDI 2014), made finite:

- What is written to a file, and its length, is sure to stay only from the next ``fsync`` of that
  file on; a name in a folder (created, renamed, removed) only from the next ``fsync`` of that
  folder on. Until then each may have reached the disk or not, in any order.
- A write may be torn, and a file may have its new length but zeros for content.
- A rename is there or not, never half; it is sure from the ``fsync`` of the folder it leads to.

For every moment of the log: everything has reached the disk; only what was sure; each unsure
change alone lost, or alone kept; the last write torn; all unsure content zeros; and, where only a
few changes are unsure, every subset of them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path, PurePosixPath

OPS = ("root", "open", "create", "truncate", "write", "sync")
OPS += ("rename", "link", "unlink", "mkdir", "rmdir", "mark")
"""As in shim.c."""
_HEAD = struct.Struct("<BBQqHHI")

Tree = dict[str, bytes | None]
"""Paths under the root: a file's content, or None for a folder."""


@dataclass(frozen=True, slots=True)
class Op:
    """One call, as the shim saw it."""

    kind: str
    worked: bool
    inode: int
    at: int
    path: str
    other: str
    data: bytes


def read_log(path: Path) -> list[Op]:
    """All calls, in the order in which they were carried out. One for each that was counted."""
    raw, at, found = path.read_bytes(), 0, []
    while at < len(raw):
        kind, worked, inode, offset, *sizes = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        parts = []
        for size in sizes:
            parts.append(raw[at : at + size])
            at += size
        names = parts[0].decode(), parts[1].decode()
        found.append(Op(OPS[kind], bool(worked), inode, offset, *names, parts[2]))
    return found


@dataclass(eq=False, slots=True)
class Node:
    """A file or a folder, whatever its names are."""

    folder: bool
    data: bytearray = field(default_factory=bytearray)
    names: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Effect:
    """One change of one node, or a promise about it (``sync``), or an acknowledgement (``ack``).

    ``put``: a name in a folder, taken from ``source`` if it was renamed. ``drop``: a name is
    removed. ``write``, ``cut``: a file's content, a file's length.
    """

    kind: str
    node: Node | None = None
    name: str = ""
    target: Node | None = None
    source: tuple[Node, str] | None = None
    at: int = 0
    data: bytes = b""


def effects(log: list[Op]) -> list[Effect]:
    """The log in terms of nodes; numbers of inodes, which are used again, are resolved."""
    assert log[0].kind == "root"
    root, top = Node(folder=True), PurePosixPath(log[0].path)
    nodes, found = {log[0].inode: root}, [Effect("root", root)]

    def place(path: str) -> tuple[Node, str]:
        folder, parts = root, PurePosixPath(path).relative_to(top).parts
        for part in parts[:-1]:
            folder = folder.names[part]
        return folder, parts[-1]

    def meant(op: Op) -> Effect | None:
        if op.kind == "mark":
            return Effect("ack", data=op.data)
        if not op.worked or op.kind == "open":
            return None
        if op.kind in {"create", "mkdir"}:
            nodes[op.inode] = Node(folder=op.kind == "mkdir")
            return Effect("put", *place(op.path), nodes[op.inode])
        if op.kind == "rename":
            (old, name), new = place(op.path), place(op.other)
            return Effect("put", *new, old.names[name], (old, name))
        if op.kind == "link":
            return Effect("put", *place(op.other), nodes[op.inode])
        if op.kind in {"unlink", "rmdir"}:
            return Effect("drop", *place(op.path))
        kind = {"truncate": "cut"}.get(op.kind, op.kind)
        return Effect(kind, nodes[op.inode], at=op.at, data=op.data)

    for op in log[1:]:
        effect = meant(op)
        if effect is not None:
            _apply(effect)
            found.append(effect)
    return found


def _apply(effect: Effect) -> None:
    node = effect.node
    if node is None or effect.kind == "sync":
        return
    if effect.kind == "put" and effect.target is not None:
        if effect.source:
            effect.source[0].names.pop(effect.source[1], None)
        node.names[effect.name] = effect.target
    elif effect.kind == "drop":
        node.names.pop(effect.name, None)
    elif effect.kind == "write":
        end = effect.at + len(effect.data)
        node.data.extend(bytes(max(0, effect.at - len(node.data))))
        node.data[effect.at : end] = effect.data
    elif effect.kind == "cut":
        node.data.extend(bytes(max(0, effect.at - len(node.data))))
        del node.data[effect.at :]


def replay(chosen: list[Effect]) -> Tree:
    """The tree of files after these effects, and no others, have reached an empty disk."""
    for effect in chosen:
        for node in (effect.node, effect.target):
            if node is not None:
                node.data.clear()
                node.names.clear()
    for effect in chosen:
        _apply(effect)
    tree: Tree = {}
    root = chosen[0].node
    assert root is not None
    rest = list(root.names.items())
    while rest:
        path, node = rest.pop()
        tree[path] = None if node.folder else bytes(node.data)
        rest += [(f"{path}/{name}", child) for name, child in node.names.items()]
    return tree


@dataclass(frozen=True, slots=True)
class Crash:
    """A state the disk may be in, and what had been acknowledged by then."""

    tree: Tree
    acknowledged: list[str]
    how: str
    """Which moment, and what was lost."""


def crashes(found: list[Effect], exhaustive: int) -> list[Crash]:
    """All legal states, each once, with the most that was acknowledged in any way to it.

    ``exhaustive``: every subset is tried where no more changes than this are unsure.
    """
    states: dict[str, Crash] = {}
    acknowledged: list[str] = []
    for end, last in enumerate(found, start=1):
        if last.kind == "ack":
            acknowledged = [*acknowledged, last.data.decode()]
        for how, chosen in _choices(found[:end], exhaustive):
            tree = replay(chosen)
            # A later moment has acknowledged no less, so it is the one to keep.
            states[_key(tree)] = Crash(tree, acknowledged, f"{last.kind} #{end}, {how}")
    return list(states.values())


def _choices(prefix: list[Effect], exhaustive: int) -> Iterator[tuple[str, list[Effect]]]:
    """Ways in which this beginning of the log may have reached the disk."""
    unsure = _unsure(prefix)

    def without(lost: set[int]) -> list[Effect]:
        return [effect for index, effect in enumerate(prefix) if index not in lost]

    def changed(change: Callable[[int, Effect], Effect]) -> list[Effect]:
        return [change(index, effect) for index, effect in enumerate(prefix)]

    everything = set(unsure)
    yield "all unsure changes lost", without(everything)
    for index in unsure:
        what = f"{prefix[index].kind} #{index + 1}"
        yield f"{what} lost", without({index})
        yield f"{what} alone kept", without(everything - {index})
    yield (
        "zeros for unsure content",
        changed(
            lambda index, effect: (
                _with(effect, bytes(len(effect.data)))
                if index in everything and effect.kind == "write"
                else effect
            )
        ),
    )
    last = prefix[-1]
    if last.kind == "write" and len(last.data) > 1:
        half = _with(last, last.data[: len(last.data) // 2])
        yield "last write torn", [*prefix[:-1], half]
        yield "last write torn, the rest lost", [*without(everything), half]
    if len(unsure) <= exhaustive:
        for size in range(2, len(unsure) - 1):
            for lost in combinations(unsure, size):
                yield f"lost {[index + 1 for index in lost]}", without(set(lost))
    yield "nothing lost", prefix


def _unsure(prefix: list[Effect]) -> list[int]:
    """Places of the changes that no later ``sync`` covers."""
    sure: set[int] = set()
    found = []
    for index in range(len(prefix) - 1, 0, -1):
        effect = prefix[index]
        if effect.kind == "sync":
            sure.add(id(effect.node))
        elif effect.kind != "ack" and id(effect.node) not in sure:
            found.append(index)
    return found[::-1]


def _with(effect: Effect, data: bytes) -> Effect:
    return Effect(effect.kind, effect.node, at=effect.at, data=data)


def _key(tree: Tree) -> str:
    digest = hashlib.sha256()
    for path in sorted(tree):
        data = tree[path]
        digest.update(f"{path}\0{-1 if data is None else len(data)}\0".encode())
        digest.update(data or b"")
    return digest.hexdigest()


def write_tree(tree: Tree, folder: Path) -> None:
    """Put a state into an empty folder."""
    for path in sorted(tree):
        data = tree[path]
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
