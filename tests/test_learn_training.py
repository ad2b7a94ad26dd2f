"""Laws of training: resumed is uninterrupted, only sensors are read, what is learned works."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import load_file

import fabrika
import fabrika._disk
from fabrika import (
    ContractError,
    IntegrityError,
    InterruptedRunError,
    ResourceError,
    UnknownNameError,
    UsageError,
    VersionError,
)
from fabrika._result import Result
from fabrika.learn import Card, Recipe, load_policy, train
from fabrika.learn import _checkpoint as checkpoint
from fabrika.learn._course import Batches, Course
from fabrika.learn._export import export_policy
from fabrika.learn._frames import Frames, accepted, gather, with_pictures
from fabrika.learn._train import Progress, _frames, fit

TASK = "toy/reach-v1"
SMALL = Recipe(steps=100, width=24, depth=2, batch=32, chunk=6, execute=3, warm_up=20)
PICTURES = dataclasses.replace(SMALL, steps=30, every=4, batch=8)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("learn") / "train"
    fabrika.run_scenarios(TASK, "expert", "train", range(60), store=path)
    return path


@pytest.fixture(scope="session")
def frames(store: Path) -> Frames:
    return gather(accepted(store), fabrika.task(TASK).policy_reads)


@pytest.fixture(scope="session")
def policy(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(store, tmp_path_factory.mktemp("policy"), recipe=SMALL, threads=1).policy


def stop_after(steps: int) -> object:
    def stop(progress: Progress) -> None:
        if progress.step >= steps:
            raise KeyboardInterrupt

    return stop


def test_resumed_training_is_bit_for_bit_training_that_never_stopped(
    frames: Frames, tmp_path: Path
) -> None:
    straight = fit(frames, tmp_path / "straight", recipe=SMALL, threads=1)
    for steps in (25, 60):
        with pytest.raises(InterruptedRunError, match="the same command goes on"):
            fit(
                frames,
                tmp_path / "broken",
                recipe=SMALL,
                threads=1,
                on_progress=stop_after(steps),  # type: ignore[arg-type]
            )
    assert not (tmp_path / "broken/policy.onnx").exists()
    broken = fit(frames, tmp_path / "broken", recipe=SMALL)
    assert broken.policy.read_bytes() == straight.policy.read_bytes()
    one, two = load_file(straight.checkpoint), load_file(broken.checkpoint)
    assert one.keys() == two.keys()
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)
    curves = [json.loads((tmp_path / n / "curve.json").read_text()) for n in ("straight", "broken")]
    for series in ("step", "train_loss", "held_out_loss"):
        assert curves[0][series] == curves[1][series]
    again = fit(frames, tmp_path / "broken", recipe=SMALL)
    assert again.policy.read_bytes() == straight.policy.read_bytes()


def test_another_seed_gives_another_policy(frames: Frames, tmp_path: Path) -> None:
    short = dataclasses.replace(SMALL, steps=5)
    files = [
        fit(frames, tmp_path / str(s), recipe=dataclasses.replace(short, seed=s), threads=1).policy
        for s in (0, 1)
    ]
    assert files[0].read_bytes() != files[1].read_bytes()


def test_a_checkpoint_of_something_else_is_not_gone_on_with(
    frames: Frames, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = policy.parent
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    other = dataclasses.replace(frames, digest="0" * 64)
    with pytest.raises(UsageError, match="other data"):
        fit(other, folder, recipe=SMALL)
    with pytest.raises(UsageError, match="width 24"):
        fit(frames, folder, recipe=dataclasses.replace(SMALL, width=32))
    with pytest.raises(UsageError, match="1 threads"):
        fit(frames, folder, recipe=SMALL, threads=2)
    monkeypatch.setattr("fabrika.learn._course.versions", lambda: {"torch": "0.1"})
    with pytest.raises(VersionError, match="Train in another folder"):
        fit(frames, folder, recipe=SMALL)
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before


def test_a_swap_cut_short_leaves_the_checkpoint_before(
    frames: Frames, policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRunError):
        fit(frames, tmp_path, recipe=SMALL, threads=1, on_progress=stop_after(50))  # type: ignore[arg-type]
    steps = [
        checkpoint.load_checkpoint(tmp_path / n).facts["step"]
        for n in (checkpoint.NAME, checkpoint.PREVIOUS)
    ]
    assert steps == [50, 45]
    (tmp_path / checkpoint.NAME).unlink()  # as between the two renames
    assert fit(frames, tmp_path, recipe=SMALL).policy.read_bytes() == policy.read_bytes()


def test_altered_checkpoints_are_refused(policy: Path, tmp_path: Path) -> None:
    data = (policy.parent / checkpoint.NAME).read_bytes()
    path = tmp_path / checkpoint.NAME
    for wrong in (data[:100], data[: len(data) // 2], b"", b"{}" * 50):
        path.write_bytes(wrong)
        with pytest.raises(IntegrityError, match="not a whole checkpoint"):
            export_policy(tmp_path, tmp_path / "policy.onnx")
    path.write_bytes(data.replace(b'\\"format\\": 1', b'\\"format\\": 9'))
    with pytest.raises(VersionError, match="format 9"):
        export_policy(tmp_path, tmp_path / "policy.onnx")
    path.unlink()
    with pytest.raises(UsageError, match="no checkpoint"):
        export_policy(tmp_path, tmp_path / "policy.onnx")
    assert not (tmp_path / "policy.onnx").exists()


def test_a_full_disk_leaves_what_was_there(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checkpoint.load_checkpoint(policy.parent)
    checkpoint.save_checkpoint(tmp_path, found)
    before = (tmp_path / checkpoint.NAME).read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fabrika._disk.os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left"):
        checkpoint.save_checkpoint(tmp_path, found)
    assert (tmp_path / checkpoint.NAME).read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_the_policy_does_what_the_expert_did(store: Path, tmp_path: Path) -> None:
    recipe = Recipe(steps=800, width=64, depth=1, batch=64, rate=3e-3, warm_up=50)
    seen: list[Progress] = []
    made = train(store, tmp_path, recipe=recipe, threads=1, on_progress=seen.append)
    runs = {
        actor: fabrika.run_scenarios(TASK, actor, "validate", range(40))
        for actor in ("expert", str(made.policy))
    }
    passed = {actor: {r.index for r in results if r.accepted} for actor, results in runs.items()}
    assert len(passed["expert"]) >= 30
    assert len(passed[str(made.policy)] & passed["expert"]) > 0.8 * len(passed["expert"])
    assert not any(r.privileged or r.void for r in runs[str(made.policy)])
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert {len(series) for series in curve.values()} == {len(seen)} == {20}
    assert curve["held_out_loss"][-1] < 0.2 * curve["held_out_loss"][0]
    assert [p.step for p in seen] == curve["step"]
    assert seen[0].remaining > seen[-1].remaining == 0
    assert (made.frames, made.held_out, made.steps) == (
        80 * made.episodes,
        made.episodes // 20,
        800,
    )


def test_a_policy_is_the_same_actor_every_time(policy: Path, tmp_path: Path) -> None:
    def digests(workers: int, folder: str) -> list[str]:
        results = fabrika.run_scenarios(
            TASK, str(policy), "validate", range(4), workers=workers, store=tmp_path / folder
        )
        return [result.digest for result in results]

    assert digests(1, "one") == digests(2, "two")


def test_the_card_says_what_the_data_said(frames: Frames, policy: Path) -> None:
    card = load_policy(policy).card
    assert (card.task, card.dt, card.reads) == (TASK, frames.dt, frames.reads)
    assert card.made["data"] == frames.digest
    assert card.made["recipe"]["steps"] == SMALL.steps
    assert Card.from_json(card.to_json(), "here") == card


def test_truth_is_never_learned_from(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="simulator truth"):
        train(store, tmp_path, reads=("joint/position", "truth/target"), recipe=SMALL)
    with pytest.raises(UnknownNameError, match="did you mean 'tracker/target'"):
        train(store, tmp_path, reads=("tracker/targe",), recipe=SMALL)
    assert not any(name.startswith("truth/") for name in gather(accepted(store)).reads)
    assert list(tmp_path.iterdir()) == []


def edited(policy: Path, out: Path, old: str, new: str) -> Path:
    """The same policy, but reading another signal of the same shape."""
    model = onnx.load(policy)
    model.metadata_props[0].value = model.metadata_props[0].value.replace(old, new)
    for value in model.graph.input:
        value.name = value.name.replace(old, new)
    for node in model.graph.node:
        node.input[:] = [name.replace(old, new) for name in node.input]
    out.write_bytes(model.SerializeToString())
    return out


def test_a_policy_that_reads_truth_is_no_evidence(policy: Path, tmp_path: Path) -> None:
    peeking = edited(policy, tmp_path / "peeking.onnx", "tracker/target", "truth/target")
    results = fabrika.run_scenarios(TASK, str(peeking), "validate", range(2))
    assert all(result.privileged for result in results)
    with pytest.raises(fabrika.EvidenceError, match="truth"):
        fabrika.check_evidence(results, split="validate", count=2)


def test_a_policy_that_reads_what_is_not_there_is_named(policy: Path, tmp_path: Path) -> None:
    lost = edited(policy, tmp_path / "lost.onnx", "tracker/target", "tracker/cup")
    with pytest.raises(UnknownNameError, match="tracker/cup"):
        fabrika.run_scenarios(TASK, str(lost), "validate", range(1))


def test_a_policy_that_is_not_a_number_fails_and_does_not_crash(
    policy: Path, tmp_path: Path
) -> None:
    model = onnx.load(policy)
    largest = max(model.graph.initializer, key=lambda c: len(c.raw_data))
    nan = np.full_like(numpy_helper.to_array(largest), np.nan)
    largest.CopyFrom(numpy_helper.from_array(nan, largest.name))
    path = tmp_path / "nan.onnx"
    path.write_bytes(model.SerializeToString())
    (result,) = fabrika.run_scenarios(TASK, str(path), "validate", range(1))
    assert (result.reason, result.void, result.length) == ("fault", "", 0)


def test_too_few_episodes_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "few"
    results = fabrika.run_scenarios(TASK, "expert", "train", range(3), store=path)
    count = sum(result.accepted for result in results)
    with pytest.raises(UsageError, match=rf"{count} of 3 episodes were accepted"):
        train(path, tmp_path / "out", recipe=SMALL)
    zero = tmp_path / "zero"
    fabrika.run_scenarios(TASK, "zero", "train", range(5), store=zero)
    with pytest.raises(UsageError, match="0 of 5 episodes were accepted"):
        train(zero, tmp_path / "out", recipe=SMALL)
    assert not (tmp_path / "out").exists()


def test_rejected_episodes_are_never_data(store: Path) -> None:
    task = fabrika.task(TASK)
    scenario = task.scenario("train", 0)
    idle = fabrika.Zero(task.build().acts)
    episode = fabrika.rollout(idle, task.build(), scenario, task.horizon)
    for each in (episode, episode.with_verdict(fabrika.judge(episode, task.checks))):
        with pytest.raises(UsageError, match="not accepted"):
            gather([*accepted(store), each])
    with fabrika.Store.open(store) as opened:
        kept = [row.scenario_id for row in opened.rows() if row.accepted]
    assert list(gather(accepted(store)).ids) == kept


def test_budgets_that_make_no_sense_are_refused(store: Path, tmp_path: Path) -> None:
    for budget in ({"steps": 0}, {"seconds": 0.0}, {"seconds": -1.0}, {"steps": 5, "seconds": 5}):
        with pytest.raises(UsageError, match="budget"):
            train(store, tmp_path, **budget)  # type: ignore[arg-type]
    made = train(store, tmp_path, seconds=2.0, recipe=SMALL, threads=1)
    assert made.steps > 1  # how many depends on what else the machine does
    assert train(store, tmp_path, seconds=2.0, recipe=SMALL).steps == made.steps


def test_a_device_that_is_not_there_is_named(store: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ResourceError, match="no CUDA device"):
        train(store, tmp_path, device="cuda", recipe=SMALL)
    assert train(store, tmp_path, device="auto", steps=2, recipe=SMALL).steps == 2


def test_each_epoch_shows_each_row_once_and_held_out_rows_never(frames: Frames) -> None:
    card = SMALL.card(frames, "tracker", 1, "cpu")
    batches = Batches(frames, card, "cpu")
    size = len(batches.train)
    assert size % 32 != 0  # so that batches do straddle epochs
    rows = np.concatenate([batches.draw(3, step, 32) for step in range(2 * size // 32 + 1)])
    for epoch in range(2):
        assert sorted(rows[epoch * size : (epoch + 1) * size]) == sorted(batches.train)
    late = Batches(frames, card, "cpu").draw(3, 40, 32)
    np.testing.assert_array_equal(late, rows[40 * 32 : 41 * 32])
    out = frames.held_out()
    assert out.sum() == max(1, len(out) // 20)
    assert not out[frames.episode[batches.train]].any()
    assert out[frames.episode[batches.held_out]].all()


def test_windows_and_chunks_stay_inside_their_episode(frames: Frames) -> None:
    card = dataclasses.replace(SMALL.card(frames, "tracker", 1, "cpu"), lags=(0, 2, 9), chunk=5)
    batches = Batches(frames, card, "cpu")
    start, end = int(frames.starts[1]), int(frames.starts[2])
    seen, _, _, done = batches.batch(np.array([start + 1, end - 2]))
    for lag, row in ((0, start + 1), (1, start), (2, start)):
        np.testing.assert_array_equal(seen[0, lag], frames.seen[row])
    for ahead, row in ((0, end - 2), (1, end - 1), (4, end - 1)):
        np.testing.assert_array_equal(done[1, ahead], frames.done[row])


def test_the_last_command_is_recalled_and_never_asked_of_the_world(
    store: Path, tmp_path: Path
) -> None:
    def renamed(episode: fabrika.Episode) -> fabrika.Episode:
        seen = dict(episode.observations)
        seen["joint/slide"] = seen["joint/position"] + 1.0
        return dataclasses.replace(episode, observations=seen)

    frames = gather(map(renamed, accepted(store)), ("joint/slide",), recall=True)
    assert frames.reads == {"joint/slide": (2,), "last/slide": (2,)}
    joint, last = frames.seen[:, :2], frames.seen[:, 2:]
    start, end = int(frames.starts[3]), int(frames.starts[4])
    np.testing.assert_array_equal(last[start], joint[start])
    np.testing.assert_array_equal(last[start + 1 : end], frames.done[start : end - 1])
    recipe = dataclasses.replace(SMALL, steps=3)
    actor = load_policy(fit(frames, tmp_path, recipe=recipe, threads=1).policy)
    assert actor.reads == {"joint/slide"}
    actor.reset("", 0)
    first = actor.act({"joint/slide": np.full(2, 0.1)})["slide"]
    second, third = (actor.act({"joint/slide": np.full(2, 0.1)})["slide"] for _ in range(2))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_pictures_are_what_the_world_shows(store: Path, frames: Frames, tmp_path: Path) -> None:
    episodes = list(accepted(store))[:4]
    state = gather(episodes, ("joint/position",))
    seen = with_pictures(state, episodes, ["camera/head"], tmp_path / "p", every=3)
    world = fabrika.task(TASK).build()
    for place in (0, 5, len(seen.pictured) - 1):
        row = int(seen.pictured[place])
        e = int(state.episode[row])
        world.restore(episodes[e].scenario, episodes[e].states[row - int(state.starts[e])])
        shown = world.observe(["camera/head"])["camera/head"]
        np.testing.assert_array_equal(seen.pictures["camera/head"][place], shown)
    stamp = (tmp_path / "p/camera_head.npy").stat().st_mtime_ns
    again = with_pictures(state, episodes, ["camera/head"], tmp_path / "p", every=3)
    assert (tmp_path / "p/camera_head.npy").stat().st_mtime_ns == stamp
    assert again.digest == seen.digest != state.digest
    other = with_pictures(state, episodes, ["camera/head"], tmp_path / "p", every=4)
    assert other.digest != seen.digest
    assert len(other.pictured) < len(seen.pictured)
    with pytest.raises(UnknownNameError, match="camera/head"):
        with_pictures(state, episodes, ["camera/hand"], tmp_path / "p")


def test_a_policy_learns_from_pictures_and_words(store: Path, tmp_path: Path) -> None:
    made = train(store, tmp_path, sensors="cameras", recipe=PICTURES, threads=1)
    actor = load_policy(made.policy)
    assert actor.reads == {"joint/position", "joint/velocity", "camera/head"}
    assert actor.card.guides == {"tracker/target": (2,)}, "taught, and not given"
    results: list[Result] = fabrika.run_scenarios(TASK, str(made.policy), "validate", range(2))
    assert all(r.verdict and r.reason != "fault" for r in results)
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert curve["held_out_loss"][-1] < 0.9 * curve["held_out_loss"][0]
    rng = np.random.default_rng(0)
    seen = {
        "joint/position": np.zeros(2),
        "joint/velocity": np.zeros(2),
        "camera/head": rng.integers(0, 256, (32, 32, 3), np.uint8),
    }

    def command(instruction: str, picture: np.ndarray) -> np.ndarray:
        actor.reset(instruction, 0)
        return np.asarray(actor.act({**seen, "camera/head": picture})["slide"])

    here = command("move to the disc", seen["camera/head"])
    assert np.abs(here - command("paint it", seen["camera/head"])).max() > 1e-6
    assert np.abs(here - command("move to the disc", 255 - seen["camera/head"])).max() > 1e-6


def test_pictures_are_taught_what_the_tracker_told(store: Path, tmp_path: Path) -> None:
    """What is made out of held-out pictures is nearer to the tracker than the mean place is."""
    recipe = dataclasses.replace(PICTURES, steps=150, batch=32, rate=3e-3)
    made = train(store, tmp_path, sensors="cameras", recipe=recipe, threads=1)
    course = Course(_frames(store, tmp_path, "cameras", (), recipe), "cameras", recipe, "cpu", 1)
    course.restore(checkpoint.load_checkpoint(made.checkpoint), "here")
    seen, pictures, _, _ = course.batches.batch(course.batches.held_out)
    policy = course.average
    told = seen[:, 0, policy.given :]
    with torch.no_grad():
        made_out, _, _ = policy._look(seen[..., : policy.given], pictures)
    error = (made_out[:, 0, policy.given :] - told).abs().mean()
    assert error < 0.5 * (told - policy.place).abs().mean()


def test_cameras_are_asked_for_by_name(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ask for the sensors 'cameras'"):
        train(store, tmp_path, reads=("camera/head",), recipe=SMALL)
    with pytest.raises(UsageError, match="no camera"):
        train(store, tmp_path, sensors="cameras", reads=("joint/position",), recipe=SMALL)


def test_a_step_depends_on_data_recipe_and_number_alone(frames: Frames) -> None:
    one, two = (Course(frames, "tracker", SMALL, "cpu", 1) for _ in range(2))
    losses = [[float(course.advance()) for _ in range(3)] for course in (one, two)]
    assert losses[0] == losses[1]
