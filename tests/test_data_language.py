"""Laws of words in datasets: an expert says again what it said, and held-out words stay out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fabrika import Episode, Task, UsageError, VersionError, rollout
from fabrika._actor import Actor
from fabrika._run import run_scenarios
from fabrika._signals import Signals
from fabrika._store import Store
from fabrika.data import Narration, export_lerobot, narrate, verify_lerobot
from fabrika.lines.home.carry_tray import TASK as TRAY
from fabrika.lines.home.mug_to_shelf import TASK as MUG
from fabrika.lines.toy import TASK as TOY

COLUMN = "language_persistent"
TASKS = pytest.mark.parametrize("task", [MUG, TRAY], ids=lambda task: task.name)


class Noting:
    """An actor that writes down what another says while it acts."""

    def __init__(self, actor: Actor) -> None:
        self.name, self.reads, self._actor = actor.name, actor.reads, actor
        self.doing: list[str] = []
        self.events: list[int] = []

    @property
    def remark(self) -> str:
        return self._actor.remark

    def reset(self, instruction: str, seed: int) -> None:
        self._actor.reset(instruction, seed)

    def act(self, observation: Signals) -> Signals:
        action = self._actor.act(observation)
        self.doing.append(self._actor.doing)  # type: ignore[attr-defined]
        self.events.append(len(self._actor.events))  # type: ignore[attr-defined]
        return action


class Clumsy:
    """The toy's expert, that says what it is at, and what went wrong at its 10th action."""

    def __init__(self) -> None:
        self._actor = TOY.expert()
        self.name, self.reads = self._actor.name, self._actor.reads
        self.reset("", 0)

    @property
    def remark(self) -> str:
        return self._actor.remark

    def reset(self, instruction: str, seed: int) -> None:
        self.doing, self.events, self._tick = "", list[str](), 0
        self._actor.reset(instruction, seed)

    def act(self, observation: Signals) -> Signals:
        near = np.hypot(*(observation["truth/target"] - observation["truth/position"])) < 0.05
        self.doing = "stay on the disc" if near else "go to the disc"
        self._tick += 1
        if self._tick == 10:
            self.events.append("slipped")
        return self._actor.act(observation)


TALKING = replace(TOY, expert=Clumsy)


@cache
def lived(task: Task) -> tuple[Episode, Noting]:
    """An episode of the expert, and what it said while it acted."""
    actor = Noting(task.expert())
    scenario = task.scenario("train", 1)
    return rollout(actor, task.build(), scenario, task.horizon), actor


def in_force(narration: Narration, episode: Episode) -> list[str]:
    said = [""] * episode.length
    for time, words in narration.subtasks:
        start = int(np.flatnonzero(episode.times == time)[0])
        said[start:] = [words] * (episode.length - start)
    return said


@pytest.mark.parametrize("task", [MUG, TRAY, TALKING], ids=["mug", "tray", "toy"])
def test_a_fresh_expert_says_again_what_was_said(task: Task) -> None:
    episode, live = lived(task)
    narration = narrate(task, episode)
    assert in_force(narration, episode) == live.doing
    assert live.doing[0] and len(narration.subtasks) > 1
    events = np.flatnonzero(np.diff([0, *live.events]))
    assert [time for time, _ in narration.events] == episode.times[events].tolist()


def test_what_went_wrong_has_its_time() -> None:
    episode, _ = lived(TALKING)
    assert narrate(TALKING, episode).events == ((episode.times[9], "slipped"),)


def test_a_missed_grasp_is_told_by_the_expert_itself() -> None:
    """The mug is pushed away from the hand that reaches for it."""
    drawn = MUG.scenario("train", 0)
    push = {"thing": "mug", "time": 2.0, "seconds": 0.15, "force": [6.0, 0.0, 0.0]}
    scenario = replace(drawn, params={**drawn.params, "pushes": [push]})
    narration = narrate(MUG, rollout(MUG.expert(), MUG.build(), scenario, 8.0))
    (time, words), *_ = narration.events
    assert words == "missed the grasp" and time > 2.0
    assert (time, "let go of the mug") in narration.subtasks


def altered(episode: Episode, group: str, signal: str, tick: int) -> Episode:
    """One entry of one row, by the smallest step that its type knows."""
    signals = dict(getattr(episode, group))
    values = np.array(signals[signal])
    values[tick].flat[0] = np.nextafter(values[tick].flat[0], values.dtype.type(np.inf))
    return replace(episode, **{group: signals | {signal: values}})


@pytest.mark.parametrize("tick", [0, 40, -1])
def test_another_action_is_refused_if_only_its_last_bit_is_another(tick: int) -> None:
    episode, _ = lived(MUG)
    with pytest.raises(VersionError, match="acts otherwise"):
        narrate(MUG, altered(episode, "actions", "right_arm", tick))


def test_another_observation_is_refused() -> None:
    episode, _ = lived(TALKING)
    values = np.array(episode.observations["truth/position"])
    values[3] += 0.01
    seen = {**episode.observations, "truth/position": values}
    with pytest.raises(VersionError, match="--no-language"):
        narrate(TALKING, replace(episode, observations=seen))


@pytest.mark.parametrize(
    ("task", "change", "error"),
    [
        (TOY, lambda e: e, UsageError),
        (MUG, lambda e: e, UsageError),
        (TALKING, lambda e: replace(e, actor="policy:0"), UsageError),
        (TALKING, lambda e: replace(e, reads=("truth/position",)), VersionError),
    ],
    ids=["silent", "other-task", "other-actor", "other-signals"],
)
def test_what_is_not_the_experts_is_refused(
    task: Task, change: Callable[[Episode], Episode], error: type[Exception]
) -> None:
    with pytest.raises(error):
        narrate(task, change(lived(TALKING)[0]))


# In datasets


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "train"
    run_scenarios(MUG.name, "expert", "train", range(3), store=folder)
    return folder


@pytest.fixture(scope="module")
def dataset(store: Path) -> Path:
    export_lerobot(store, store.parent / "out")
    return store.parent / "out"


def words(root: Path) -> list[list[list[dict[str, object]]]]:
    """By episode, by row: what is said."""
    table = pq.read_table(root / "data", columns=["episode_index", COLUMN])
    found: dict[int, list[list[dict[str, object]]]] = {}
    for number, said in zip(
        *(table.column(n).to_pylist() for n in table.column_names), strict=True
    ):
        found.setdefault(number, []).append(said)
    return list(found.values())


def test_each_row_has_all_words_of_its_episode(store: Path, dataset: Path) -> None:
    with Store.open(store) as opened:
        episodes = [opened.episode(row) for row in opened.rows() if row.accepted]
    for episode, rows in zip(episodes, words(dataset), strict=True):
        assert len(rows) == episode.length and all(row == rows[0] for row in rows)
        tasks = [entry for entry in rows[0] if entry["style"] == "subtask"]
        said = [(np.float32(time), what) for time, what in narrate(MUG, episode).subtasks]
        assert [(np.float32(e["timestamp"]), e["content"]) for e in tasks] == said  # type: ignore[arg-type]
        phrases = [entry["content"] for entry in rows[0] if entry["style"] == "task_aug"]
        assert phrases[0] == episode.scenario.instruction
        assert sorted(phrases) == sorted(MUG.instructions)  # type: ignore[type-var]


def test_words_verify_without_an_error(dataset: Path) -> None:
    report = verify_lerobot(dataset)
    assert report.ok
    assert {finding.code for finding in report.findings} <= {"action-constant", "fingers-still"}


def test_held_out_phrasings_are_nowhere_in_a_training_set(dataset: Path) -> None:
    texts = [path.read_text() for path in dataset.rglob("*.json")]
    texts += [str(pq.read_table(path).to_pylist()) for path in dataset.rglob("*.parquet")]
    everything = "\n".join(texts)
    assert all(phrase in everything for phrase in MUG.instructions)
    assert not [phrase for phrase in MUG.held_out_instructions if phrase in everything]


def test_who_was_told_in_held_out_words_has_no_paraphrases(tmp_path: Path) -> None:
    run_scenarios(MUG.name, "expert", "validate", range(1), store=tmp_path / "store")
    export_lerobot(tmp_path / "store", tmp_path / "out")
    styles = {entry["style"] for rows in words(tmp_path / "out") for row in rows for entry in row}
    assert styles == {"subtask"}


def talk(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    """Have the export take another version of a task for the installed one."""
    for module in ("_plan", "_render"):
        monkeypatch.setattr(f"fabrika.data.{module}.find_task", lambda name: task)


def table(root: Path) -> list[dict[str, object]]:
    return pq.read_table(root / "meta/episodes").to_pylist()


def test_recoveries_are_told_of_what_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_scenarios(TOY.name, "expert", "train", range(30), store=tmp_path / "store")
    talk(monkeypatch, TALKING)
    made = export_lerobot(tmp_path / "store", tmp_path / "out", include_failed=True)
    rows = table(tmp_path / "out")
    passed = [row["success"] for row in rows]
    assert any(passed) and not all(passed)
    splits = json.loads((tmp_path / "out/meta/info.json").read_text())["splits"]
    count = sum(map(bool, passed))
    assert splits == {"train": f"0:{count}", "failed": f"{count}:{len(passed)}"}
    assert all(passed[:count]) and all(row["failure_code"] for row in rows[count:])
    for row in rows:
        assert row["recovered_from"] == (["slipped"] if row["success"] else [])
        assert len(row["recovered_at"]) == len(row["recovered_from"])  # type: ignore[arg-type]
    assert (made.recovered, made.unnarrated) == (count, 0)
    told = json.loads((tmp_path / "out/meta/provenance.json").read_text())
    assert (told["recovered"], told["narrated"]) == (made.recovered, made.episodes)
    assert verify_lerobot(tmp_path / "out").findings == ()


def test_what_cannot_be_worked_out_is_counted_and_not_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changed(Clumsy):
        def act(self, observation: Signals) -> Signals:
            action = super().act(observation)
            return {"slide": action["slide"] * (1.001 if self._tick > 5 else 1.0)}

    run_scenarios(TOY.name, "expert", "train", range(2), store=tmp_path / "store")
    talk(monkeypatch, replace(TOY, expert=Changed))
    made = export_lerobot(tmp_path / "store", tmp_path / "out")
    assert (made.unnarrated, made.recovered) == (2, 0)
    assert "acts otherwise" in made.unnarrated_because
    assert all(row["recovered_from"] is None for row in table(tmp_path / "out"))
    styles = {entry["style"] for rows in words(tmp_path / "out") for row in rows for entry in row}
    assert styles == {"task_aug"}


def test_who_says_nothing_or_is_not_asked_leaves_no_words(store: Path, tmp_path: Path) -> None:
    run_scenarios(TOY.name, "expert", "train", range(2), store=tmp_path / "toy")
    for source, language in ((tmp_path / "toy", True), (store, False)):
        out = tmp_path / f"{language}"
        made = export_lerobot(source, out, language=language)
        assert COLUMN not in pq.read_table(out / "data").column_names
        assert COLUMN not in json.loads((out / "meta/info.json").read_text())["features"]
        assert made.unnarrated == made.episodes and not made.unnarrated_because


def test_what_was_pushed_is_told(store: Path, dataset: Path) -> None:
    with Store.open(store) as opened:
        episodes = [opened.episode(row) for row in opened.rows() if row.accepted]
    for episode, row in zip(episodes, table(dataset), strict=True):
        pushes = episode.scenario.params["pushes"]
        assert row["pushed"] == [push["thing"] for push in pushes]
