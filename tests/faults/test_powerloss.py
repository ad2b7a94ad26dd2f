"""Laws of a power cut: whatever of the unsynced changes is lost or torn, a rerun gives it all."""

from __future__ import annotations

import shutil

import pytest

from faults.powerloss import Crash, Effect, Op, crashes, effects, read_log, replay, write_tree
from faults.server import COUNT, Answer, Server, complaints


@pytest.fixture(scope="module")
def recording(server: Server, golden: Answer) -> list[Effect]:
    """What a run of three commits asks of the disk, and the moments at which it tells of a row."""
    root, log = server.root(), server.folder / "powerloss.log"
    assert server.run(root, log=str(log))["error"] == ""
    found = effects(read_log(log))
    assert sum(effect.kind == "ack" for effect in found) == COUNT
    whole = {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if not path.name.endswith("-shm")  # changed in memory; SQLite makes it anew
    }
    assert replay(found) == whole, "the log is all that has happened"
    return found


def broken(server: Server, golden: Answer, crash: Crash) -> list[str]:
    """What is wrong with a run that is continued after the power comes back."""
    root = server.root()
    write_tree(crash.tree, root)
    wrong = complaints(server.check(root), crash.acknowledged, golden)
    shutil.rmtree(root)
    return [f"{crash.how}: {what}" for what in wrong]


def test_every_state_after_a_power_cut_is_continued(
    server: Server, golden: Answer, recording: list[Effect], pytestconfig: pytest.Config
) -> None:
    release = pytestconfig.getoption("--tier") == "release"
    states = crashes(recording, exhaustive=10 if release else 5)
    assert len(states) >= 100
    wrong = [what for crash in states for what in broken(server, golden, crash)]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(states)} states:", *wrong[:20]])


def test_a_store_that_never_synced_would_be_caught(
    server: Server, golden: Answer, recording: list[Effect]
) -> None:
    """The same run on a disk that forgets every promise: the law above can fail."""
    careless = [effect for effect in recording if effect.kind != "sync"]
    assert any(broken(server, golden, crash) for crash in crashes(careless, exhaustive=0)[::5])


# The model itself


def _log(*calls: tuple[str, int, str, str, bytes]) -> list[Effect]:
    root = Op("root", True, 1, 0, "/d", "", b"")
    return effects([root, *(Op(k, True, i, 0, p, o, data) for k, i, p, o, data in calls)])


def _trees(found: list[Effect], exhaustive: int = 9) -> list[dict[str, bytes | None]]:
    return [crash.tree for crash in crashes(found, exhaustive)]


def test_what_was_not_synced_may_be_lost_torn_or_zero() -> None:
    found = _log(
        ("create", 2, "/d/f", "", b""),
        ("sync", 1, "/d", "", b""),
        ("write", 2, "/d/f", "", b"abcd"),
    )
    assert {tree.get("f") for tree in _trees(found)} == {None, b"", b"ab", b"abcd", bytes(4)}
    sure = [*found, Effect("sync", found[1].target), Effect("ack", data=b"row")]
    assert [crash.tree for crash in crashes(sure, 9) if crash.acknowledged] == [{"f": b"abcd"}]


def test_a_rename_may_outrun_the_content_and_is_never_half() -> None:
    found = _log(
        ("create", 2, "/d/new", "", b""),
        ("write", 2, "/d/new", "", b"abcd"),
        ("rename", 2, "/d/new", "/d/name", b""),
    )
    trees = _trees(found)
    assert {"name": b""} in trees and {"name": b"abcd"} in trees and {"new": b"abcd"} in trees
    assert not any(len(tree) > 1 for tree in trees)
    synced = [*found[:3], Effect("sync", found[1].target), found[3]]
    assert {tree["name"] for tree in _trees(synced) if "name" in tree} == {b"abcd"}


def test_an_acknowledgement_holds_from_its_moment_on() -> None:
    found = _log(("create", 2, "/d/f", "", b""), ("mark", 0, "", "", b"row"))
    states = {tuple(crash.tree): crash.acknowledged for crash in crashes(found, 9)}
    assert states == {(): ["row"], ("f",): ["row"]}
    calm = [found[0], found[1], Effect("sync", found[0].node), found[2]]
    states = {tuple(crash.tree): crash.acknowledged for crash in crashes(calm, 9)}
    assert states == {(): [], ("f",): ["row"]}
