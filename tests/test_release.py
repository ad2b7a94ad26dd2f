"""Laws of what a person is shown: whole, offline, and never more than the evidence says."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fabrika
from fabrika import ContractError, Gate, IntegrityError, UsageError, rollout, run_scenarios
from fabrika.lines.toy import TASK, ReachWorld
from fabrika.release import claim_words, encode_h264, film, plot_episode, report
from fabrika.release._charts import categories, histogram, stacked_bars
from fabrika.release._facts import flatten, separation
from fabrika.release._film import write_whole
from fabrika.release._words import percent_down
from faults import planted

COUNT = 28


class Page(HTMLParser):
    """What a browser would load, and what a screen reader would say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder with real evidence of a policy from the plug-in package."""
    folder = tmp_path_factory.mktemp("run")
    with planted(folder):
        policy = folder / "policy.follow"
        policy.write_text("0.2")
        name = "faults/none-v1"
        run_scenarios(name, "expert", "train", range(4), store=folder / "train")
        evidence = {
            role: run_scenarios(
                name, actor, "validate", range(COUNT), store=folder / "evidence" / role
            )
            for role, actor in {"policy": str(policy), "expert": "expert", "zero": "zero"}.items()
        }
        decision = Gate().decide(evidence["policy"], evidence["expert"])
        (folder / "decision.json").write_text(json.dumps(asdict(decision)))
        manifest = {"task": name, "seed": 0, "command": "fabrika run <b>this</b>"}
        (folder / "run.json").write_text(json.dumps(manifest))
        report(folder)
        yield folder


def test_the_report_loads_nothing(finished: Path) -> None:
    page = Page((finished / "report.html").read_text())
    for _, attributes in page.tags:
        for name in ("src", "href", "poster", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not page.all("script") and not page.all("link")
    text = (finished / "report.html").read_text()
    assert "url(http" not in text and "@import" not in text


def test_every_video_plays(finished: Path) -> None:
    videos = Page((finished / "report.html").read_text()).all("video")
    assert len(videos) >= 3
    for video in videos:
        data = base64.b64decode(str(video["src"]).partition("base64,")[2])
        with av.open(io.BytesIO(data)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            frames = sum(1 for _ in container.decode(video=0))
        assert frames >= TASK.horizon * 5 and video["aria-label"]


def test_the_report_can_be_read_without_eyes(finished: Path) -> None:
    text = (finished / "report.html").read_text()
    page = Page(text)
    assert page.all("html")[0]["lang"] and page.all("meta")[1]["name"] == "viewport"
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    pictures = [svg for svg in page.all("svg") if "aria-hidden" not in svg]
    assert pictures and all(svg["aria-label"] for svg in pictures)
    assert "prefers-color-scheme: dark" in text


def test_the_report_says_what_the_evidence_says(finished: Path) -> None:
    text = (finished / "report.html").read_text()
    decision = json.loads((finished / "decision.json").read_text())
    assert claim_words(decision)[0] in text
    assert ("The gate passed." in text) is decision["passed"]
    failed = COUNT - decision["successes"]
    assert text.count(f"fabrika show {finished}:") == failed
    assert "nothing here says anything about a real robot" in text
    assert "&lt;b&gt;this&lt;/b&gt;" in text and "<b>this</b>" not in text


def test_the_report_stands_without_pictures(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ReachWorld, scenario: object, look: int = 0) -> None:
        raise fabrika.ResourceError("no offscreen GL")

    monkeypatch.setattr(ReachWorld, "dress", broken)
    before = (finished / "report.html").read_text()
    text = report(finished).read_text()
    (finished / "report.html").write_text(before)
    assert "There are no pictures: no offscreen GL" in text and "<video" not in text


def test_a_folder_that_is_no_finished_run_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run"):
        report(tmp_path)
    (tmp_path / "run.json").write_text((finished / "run.json").read_text())
    with pytest.raises(UsageError, match="no decision yet"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_task_that_changed_since_is_noticed(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fabrika_faults

    changed = replace(fabrika_faults.NONE, held_out_instructions=("something else",))
    monkeypatch.setattr(fabrika_faults, "NONE", changed)
    with pytest.raises(IntegrityError, match="the task has changed since"):
        report(finished)


@given(st.floats(0, 1))
def test_a_share_is_never_rounded_up(share: float) -> None:
    assert float(percent_down(share).rstrip("%")) <= 100 * share + 1e-6


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_a_histogram_draws_every_episode(passed: list[bool]) -> None:
    ok = np.array(passed)
    values = np.linspace(0, 1, len(ok))
    chart = histogram(values, ok, "any")
    assert ('class="pass"' in chart) is bool(ok.any())
    assert ('class="fail"' in chart) is bool((~ok).any())


def test_charts_escape_what_they_are_told() -> None:
    words = ["<script>", "<script>"]
    for chart in (
        categories(words, np.array([True, False]), 'a "label" <here>'),
        stacked_bars(["a"], np.array([1]), np.array([0]), '"<'),
        histogram(np.array([np.nan]), np.array([True]), "<x>"),
    ):
        assert "<script>" not in chart and "<here>" not in chart and "<x>" not in chart


@given(st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=1, max_size=30))
def test_separation_is_a_share_and_knows_no_direction(pairs: list[tuple[float, bool]]) -> None:
    values, ok = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    strength = separation(values, ok)
    assert 0 <= strength <= 1
    assert math.isclose(strength, separation(-values, ok)) and math.isclose(
        strength, separation(values, ~ok)
    )
    assert separation(ok.astype(float), ok) == (1.0 if 0 < ok.sum() < len(ok) else 0.0)


def test_params_are_flattened_without_loss() -> None:
    flat = flatten({"mug": {"pose": [1, 2.5], "colour": "red"}, "on": True})
    assert flat == {"mug.pose[0]": 1.0, "mug.pose[1]": 2.5, "mug.colour": "red", "on": "True"}


def test_a_film_shows_every_state_beside_the_robots_cameras(tmp_path: Path) -> None:
    world = ReachWorld()
    scenario = TASK.scenario("train", 0)
    episode = rollout(TASK.expert(), world, scenario, 0.5)
    frames = list(film(world, episode, height=48))
    assert len(frames) == len(episode.states) == 11
    assert {frame.shape for frame in frames} == {(48, 64 + 48, 3)}
    encode_h264(frames, 20, tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 11
    error = np.abs(shown[-1].astype(float) - frames[-1]).mean()
    assert error < np.abs(shown[0].astype(float) - frames[-1]).mean() + 1 and error < 12
    with pytest.raises(ContractError, match="no cameras"):
        next(film(object(), episode))  # type: ignore[arg-type]


def test_what_is_not_finished_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="at least one frame"):
        encode_h264([], 10, tmp_path / "film.mp4")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "folder", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_plots_are_written_whole(tmp_path: Path) -> None:
    episode = rollout(TASK.expert(), ReachWorld(), TASK.scenario("train", 0), 0.5)
    path = plot_episode(episode, tmp_path / "plots.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["plots.png"]
