"""Laws of the gallery: what of the start was covered, what is experimental, what is kept."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from fabrika._episode import Verdict
from fabrika._errors import IntegrityError
from fabrika._registry import task as find_task
from fabrika._result import Result
from fabrika.cli import main
from fabrika.cli._gallery import QUOTA, _coverage, _hard, _retry, remark
from fabrika.lines.home._chores import task_of
from fabrika.lines.home._coverage import GRID, cells, ranges
from fabrika.lines.home._page import read_page
from fabrika.lines.home.pages import OWN, START

BUILT_IN = sorted(OWN.glob("*.yaml"))


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_no_cell_of_the_randomised_start_is_out_of_reach(path: Path) -> None:
    """Every cell of every range is drawn sooner or later, and no scenario is outside of all."""
    page = read_page(path.read_text(), str(path))
    if page.robot == "aloha" and find_spec("gym_aloha") is None:
        pytest.skip("gym-aloha is not installed (the extra aloha)")
    task = task_of(page)
    everything = {
        (r, (i + 1, j + 1)) for r in ranges(page) for i in range(GRID) for j in range(GRID)
    }
    for index in range(3000):
        found = cells(page, task.scenario("train", index).params)
        assert found.keys() <= set(ranges(page))
        everything -= set(found.items())
        if not everything:
            return
    raise AssertionError(f"never drawn: {sorted(everything)}")


def test_cells_without_an_accepted_episode_are_tried_further_up_to_a_quota() -> None:
    """The scenarios are really drawn; who tries them accepts all, or what is not on the right."""
    page = read_page((OWN / "cup-to-table.yaml").read_text(), "page.yaml")
    drawn = find_task(page.task)

    def tried(indices: Sequence[int], easy: bool) -> list[Result]:
        found = [cells(page, drawn.scenario("train", index).params) for index in indices]
        right = [cell["cup on counter.top"][1] == GRID for cell in found]
        return [
            Result(
                task=page.task,
                split="train",
                draw="",
                index=index,
                scenario_id=str(index),
                actor="expert",
                verdict=Verdict(passed=easy or not r, reason="passed"),
                reason="passed",
            )
            for index, r in zip(indices, right, strict=True)
        ]

    few = tried(range(6), easy=True)
    more = _retry(page.task, page, 40, few, lambda indices: tried(indices, easy=True))
    assert len({result.index for result in [*few, *more]}) == 6 + len(more)
    assert not _hard(_coverage(page.task, page, [*few, *more]))
    more = _retry(page.task, page, 40, few, lambda indices: tried(indices, easy=False))
    hard = _hard(_coverage(page.task, page, [*few, *more]))
    assert hard and all("column 4" in cell for cell in hard)
    counts = [int(re.findall(r"\((\d+) tried", cell)[0]) for cell in hard]
    assert min(counts) >= QUOTA and len(more) <= QUOTA * 2 * GRID**2


@pytest.mark.parametrize(
    ("accepted", "reasons", "said", "remark_is"),
    [
        (300, {}, "", ""),
        (270, {"goal/on": 30}, "it slips", ""),
        (269, {"goal/on": 31}, "", "269 of 300 accepted"),
        (269, {"goal/on": 31}, "it slips", "269 of 300 accepted: it slips"),
        (299, {"safety/force": 1}, "", "1 of 300 beyond a limit of safety"),
        (260, {"safety/force": 40}, "", "260 of 300 accepted, 40 of 300 beyond a limit of safety"),
    ],
)
def test_what_is_experimental_follows_from_what_was_measured(
    accepted: int, reasons: dict[str, int], said: str, remark_is: str
) -> None:
    page = replace(
        read_page(START.read_text().replace("TASK", "home/stand-cup-v1"), "page.yaml"),
        experimental=said,
    )
    row = {"scenarios": 300, "accepted": accepted, "reasons": reasons}
    assert remark(row, page) == remark_is
    few = {"scenarios": 30, "accepted": 30, "reasons": {}}
    assert remark(few, page) == said and remark(few, None) == ""


def test_the_gallery_goes_on_where_it_was(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Results\n\n<!-- gallery -->\nold\n<!-- /gallery -->\nthe rest\n")
    words = ["gallery", "toy/reach-v1", "-n", "6", "--out", str(tmp_path / "out")]
    words += ["--stores", str(tmp_path / "stores"), "--table", str(page), "--workers", "1"]
    first = CliRunner().invoke(main, [*words, "--json"])
    assert first.exit_code == 0, first.output
    (row,) = json.loads(first.stdout)
    assert row["scenarios"] == 6 == row["accepted"] + sum(row["reasons"].values())
    assert 0 < row["at_least"] < row["accepted"] / 6
    text = page.read_text()
    assert text.endswith("<!-- /gallery -->\nthe rest\n") and "`toy/reach-v1`" in text
    assert "old" not in text and row["hardware"]["processor"] in text
    files = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert {"README.md", "results.json", row["picture"], row["video"]} == files.keys()
    assert len(files[row["picture"]]) < 40_000 and len(files[row["video"]]) < 300_000
    assert json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout) == [row]
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == files
    shutil.rmtree(tmp_path / "stores")
    assert json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout) == [row]
    assert not (tmp_path / "stores").exists()
    (anew,) = json.loads(CliRunner().invoke(main, [*words, "--json", "--again"]).stdout)
    assert (tmp_path / "stores").exists()
    assert {key for key in row if row[key] != anew[key]} <= {
        "real_time",
        "cpu_seconds_per_accepted",
    }
    told = CliRunner().invoke(main, ["list", "tasks", "--gallery", str(tmp_path / "out"), "--json"])
    measured = {row["name"]: row["measured"] for row in json.loads(told.stdout)}
    assert measured["toy/reach-v1"]["of"] == "this version"
    assert measured["toy/reach-v1"]["accepted"] == row["accepted"]
    (tmp_path / "out" / "results.json").write_text("[1]")
    told = CliRunner().invoke(main, ["list", "tasks", "--gallery", str(tmp_path / "out")])
    assert told.exit_code == IntegrityError.exit_code and "results.json" in told.stderr
