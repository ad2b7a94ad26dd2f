"""Laws of tasks that are pages of YAML: what is read, refused, found, checked and covered."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from fabrika._errors import UsageError, VersionError
from fabrika._registry import known, load
from fabrika._registry import task as find_task
from fabrika._run import run_scenarios
from fabrika._source import _digest, _imported, source_digest
from fabrika.cli import main
from fabrika.lines.home._chores import task_of
from fabrika.lines.home._goals import PREDICATES
from fabrika.lines.home._inspection import check_page
from fabrika.lines.home._page import KEYS, THING_KEYS, read_page
from fabrika.lines.home.pages import FOLDERS, OWN, START, page_at, path_of
from test_style import ROOT

BUILT_IN = sorted(OWN.glob("*.yaml"))
NAME = "home/stand-cup-v1"
PAGE = START.read_text().replace("TASK", NAME)


def edited(old: str, new: str) -> str:
    assert PAGE.count(old) >= 1, old
    return PAGE.replace(old, new, 1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, as the only one where pages are looked for."""
    made = tmp_path / "mine"
    made.mkdir()
    monkeypatch.setenv(FOLDERS, str(made))
    return made


# -- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*BUILT_IN, START], ids=lambda path: path.stem)
def test_every_page_that_comes_along_reads(path: Path) -> None:
    page = read_page(path.read_text().replace("TASK", NAME), str(path))
    assert page.goals and page.words and page.held_out_words
    assert task_of(page).scenario("validate", 0).instruction in page.held_out_words


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_every_built_in_page_is_installed_under_its_name(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["fabrika.tasks"]
    name = read_page(path.read_text(), str(path)).task
    assert points.get(name) == f"fabrika.lines.home.pages:{path.stem.replace('-', '_')}"
    assert path_of(points[name]) == path


MISTAKES = {
    "an unknown key": ("about:", "abuot:", "there is no key 'abuot'; did you mean 'about'"),
    "a key twice": ("about:", "task: home/b-v1\nabout:", "'task' stands here a second time"),
    "a bad name": (f"task: {NAME}", "task: Stand the cup", "is no task's name"),
    "a kind of fixture": ("[counter, drawers]", "[countre, drawers]", "did you mean 'counter'"),
    "two of one name": ("[counter, drawers]", "[counter, counter]", "two fixtures 'counter'"),
    "a wall": ("  back: [", "  bakc: [", "did you mean 'back'"),
    "a fixture's name": ("[counter, drawers]", "[Big One: counter]", "is no name"),
    "a key of a thing": ("    on: counter.top", "    onto: counter.top", "there is no key 'onto'"),
    "an instance": ("from: cup\n", "from: cupp\n", "no thing or category 'cupp'"),
    "shapes mixed": ("from: cup\n", "from: [cup, plate]\n", "shapes"),
    "nothing to train on": ("cup_measuring", "cup", "nothing is left of 'cup'"),
    "a spot": ("on: counter.top", "on: counter.tpo", "did you mean 'counter.top'"),
    "a count": ("count: [0, 2]", "count: [2, 0]", "a count is"),
    "not a number": ("count: [0, 2]", "count: [0, many]", "is not a number"),
    "a number out of range": ("goal:", "pushes: 3\ngoal:", "3 is not between 0 and 1"),
    "a predicate": ("- on(cup", "- om(cup", "there is no predicate 'om'; did you mean 'on'"),
    "no predicate": ("- on(cup, table.top)", "- the cup is there", "is no goal"),
    "arguments": ("- on(cup, table.top)", "- on(cup)", "on takes thing, place"),
    "a thing": ("- on(cup,", "- on(cap,", "no thing 'cap'"),
    "a goal's spot": ("(cup, table.top)", "(cup, table.tip)", "did you mean 'table.top'"),
    "a space": ("- upright(cup)", "- inside(cup, drawers.on)", "no space 'drawers.on'"),
    "a part": ("- upright(cup)", "- open(fridge_door)", "there is no part 'fridge_door'"),
    "two places": ("- upright(cup)", "- on(cup, counter.top)", "impossible"),
    "open and closed": (
        "- upright(cup)",
        "- open(drawers_top)\n  - closed(drawers_top)",
        "impossible",
    ),
    "lying and upright": ("- upright(cup)", "- upright(cup)\n  - lying(cup)", "impossible"),
    "held-out words": (
        "- could you [",
        "- the cup belongs on the table\n  - could you [",
        "is among the words",
    ),
    "a bracket left open": ('"[put|stand|set] the', '"[put|stand|set the', "bracket"),
    "not YAML": ("room:", "room: ]", ""),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_each_mistake_is_refused_with_its_line_and_column(what: str) -> None:
    old, new, words = MISTAKES[what]
    with pytest.raises(UsageError) as error:
        read_page(edited(old, new), "page.yaml")
    message = str(error.value)
    assert words in message
    assert re.match(r"page\.yaml:\d+:\d+: ", message)


def test_only_what_has_a_ring_starts_on_a_peg_and_nothing_is_put_there() -> None:
    text = PAGE.replace("drawers]", "drawers, hook]", 1)
    with pytest.raises(UsageError, match=r"page\.yaml:\d+:\d+: 'cup' has no ring"):
        read_page(text.replace("on: counter.top", "on: hook.peg", 1), "page.yaml")
    with pytest.raises(UsageError, match=r"no spot 'hook\.peg'"):
        read_page(text.replace("on(cup, table.top)", "on(cup, hook.peg)", 1), "page.yaml")


@pytest.mark.parametrize("key", ["task", "about", "room", "things", "goal", "words"])
def test_a_page_without_what_it_needs_is_refused(key: str) -> None:
    lines = PAGE.splitlines()
    start = lines.index(next(line for line in lines if line.startswith(f"{key}:")))
    end = start + 1
    while end < len(lines) and lines[end][:1] in ("", " ", "#"):
        end += 1
    with pytest.raises(UsageError, match=f"the key '{key}' is missing"):
        read_page("\n".join(lines[:start] + lines[end:]), "page.yaml")


def test_everything_that_a_page_may_say_is_documented() -> None:
    text = (ROOT / "docs" / "reference" / "pages.md").read_text()
    for key in (*KEYS, *THING_KEYS):
        assert f"| `{key}` |" in text
    for predicate in PREDICATES:
        assert f"| `{predicate}(" in text
    guide = (ROOT / "docs" / "guides" / "tasks-in-yaml.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert [read_page(block, "guide").task for block in blocks] == [NAME, "home/bring-cup-v1"]


def test_what_is_held_out_is_never_trained_on() -> None:
    text = edited("from: cup\n", "from: cup_plastic\n")  # 38 mm wide; the held-out one 42 mm
    task = task_of(read_page(text, "page.yaml"))
    for index in range(30):
        assert task.scenario("train", index).params["things"]["cup"]["radius"] < 0.040
        assert task.scenario("validate", index).params["things"]["cup"]["radius"] > 0.040
        release = task.scenario("release", index, "candidate")
        assert release.params["things"]["cup"]["radius"] > 0.040


# -- finding -------------------------------------------------------------------------------------


def test_a_page_is_a_task_in_every_process(folder: Path, tmp_path: Path) -> None:
    assert NAME not in known("tasks")
    (folder / "any name.yaml").write_text(edited("room:", "horizon: 2\nroom:"))
    assert find_task(NAME).name == NAME
    here, there = (
        run_scenarios(NAME, "zero", "validate", [0], executor=executor, store=tmp_path / executor)
        for executor in ("serial", "pool")
    )
    assert here[0].digest == there[0].digest != ""
    again = (folder / "any name.yaml").read_text().replace("- upright(cup)", "- lying(cup)")
    (folder / "any name.yaml").write_text(again)
    with pytest.raises(VersionError):
        run_scenarios(NAME, "zero", "validate", [0, 1], store=tmp_path / "serial")


def test_another_text_is_another_source(folder: Path) -> None:
    found = set()
    for text in (PAGE, PAGE + "# more\n", PAGE):
        (folder / "page.yaml").write_text(text)
        found.add((known("tasks")[NAME], source_digest(NAME)))
    assert len(found) == 2


def test_a_page_is_the_source_of_its_own_task_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remarked on its expert is not: it changes no episode."""
    package = tmp_path / "chores_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))

    def digests(tea: str, code: str = "") -> list[str]:
        (package / "make-tea.yaml").write_text(tea)
        (package / "sweep.yaml").write_text("task: b\n")
        (package / "code.py").write_text(code)
        places = ("make_tea", "make_tea_on_aloha", "sweep", "something")
        return [_digest.__wrapped__(f"chores_of_mine:{place}") for place in places]

    def same(one: list[str], other: list[str]) -> list[bool]:
        return [a == b for a, b in zip(one, other, strict=True)]

    first = digests("task: a\n")
    assert same(first, digests("task: a\nexperimental: tried twice\n")) == [True] * 4
    assert same(first, digests("task: c\n")) == [False, False, True, False]
    assert same(first, digests("task: a\n", "x = 1\n")) == [False] * 4


@pytest.mark.parametrize(
    ("task", "others"),
    [
        ("home/carry-tray-v1", {"mug_expert.py", "_housekeeper.py"}),
        ("home/mug-to-shelf-v1", {"tray_expert.py", "_housekeeper.py"}),
        ("home/cup-to-table-v1", {"mug_expert.py", "tray_expert.py"}),
    ],
)
def test_what_a_task_of_a_line_runs_is_its_source_and_another_tasks_story_is_not(
    task: str, others: set[str]
) -> None:
    script = (
        "import sys, fabrika; from fabrika._registry import known; known('tasks');"
        "looked = set(sys.modules); t = fabrika.task(sys.argv[1]); s = t.scenario('train', 0);"
        "v = fabrika.judge(fabrika.rollout(t.expert(), t.build(), s, 4.0), t.checks);"
        "new = {n: m for n, m in sys.modules.items() if n not in looked};"
        "print(*(m.__file__ for n, m in new.items() if n.startswith(sys.argv[2])))"
    )
    line = "fabrika.lines.home"
    told = [sys.executable, "-c", script, task, line]
    ran = subprocess.run(told, check=True, capture_output=True, text=True).stdout.split()
    source = _imported(known("tasks")[task].partition(":")[0], line)
    assert {Path(file) for file in ran} - {Path(file) for file in source} == set()
    assert not others & {file.name for file in source}


def test_a_page_may_not_take_a_name(folder: Path) -> None:
    (folder / "one.yaml").write_text(PAGE)
    (folder / "two.yaml").write_text(PAGE)
    with pytest.raises(UsageError, match=r"one\.yaml and .*two\.yaml are both named"):
        known("tasks")
    (folder / "two.yaml").write_text(PAGE.replace(NAME, "toy/reach-v1"))
    with pytest.raises(UsageError, match=r"two\.yaml is named 'toy/reach-v1', as fabrika\.lines"):
        known("tasks")


def test_a_broken_page_hides_nothing_and_says_what_is_wrong(folder: Path) -> None:
    (folder / "broken.yaml").write_text(edited("room:", "room: ]"))
    (folder / "other.yaml").write_text("name: something else\n")
    (folder / "bytes.yaml").write_bytes(b"\xff\xfe task: \x00")
    (folder / "dangling.yaml").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.yaml")
    (folder / "folder.yaml").mkdir()
    rows = json.loads(CliRunner().invoke(main, ["list", "tasks", "--json"]).stdout)
    broken = next(row for row in rows if row["name"] == NAME)
    assert re.search(r"broken\.yaml:\d+:\d+: ", broken["problem"])
    assert all(not row["problem"] for row in rows if row["name"] != NAME)
    with pytest.raises(UsageError, match=r"broken\.yaml:\d+:\d+: "):
        load("tasks", NAME)


def test_several_folders_and_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "one.yaml").write_text(PAGE)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "two.yaml").write_text(PAGE.replace("stand-cup", "two"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDERS, f"{folder}{os.pathsep}{tmp_path / 'absent'}{os.pathsep}{folder}")
    assert NAME in known("tasks") and "home/two-v1" not in known("tasks")
    monkeypatch.delenv(FOLDERS)
    assert NAME not in known("tasks") and "home/two-v1" in known("tasks")


# -- new -----------------------------------------------------------------------------------------


def test_a_new_page_is_a_task_and_is_never_written_over(folder: Path) -> None:
    made = CliRunner().invoke(main, ["new", "task", "stand-cup"])
    assert made.exit_code == 0 and Path(made.stdout.strip()) == folder / "stand-cup.yaml"
    assert f"fabrika check task {NAME}" in made.stderr
    (folder / "stand-cup.yaml").write_text("mine")
    again = CliRunner().invoke(main, ["new", "task", "stand-cup"])
    assert again.exit_code == 2 and (folder / "stand-cup.yaml").read_text() == "mine"
    for name in ("Bad Name", "../up", "home/x", "toy/reach-v1", ""):
        assert CliRunner().invoke(main, ["new", "task", name]).exit_code == 2
    assert [path.name for path in folder.iterdir()] == ["stand-cup.yaml"]


# -- checking before anything runs ---------------------------------------------------------------


def test_a_new_page_passes_what_is_asked_of_pages(tmp_path: Path) -> None:
    path = tmp_path / "page.yaml"
    path.write_text(PAGE)
    assert check_page(read_page(PAGE, str(path)), path) == []


IMPOSSIBLE = [
    (["inside(cup, drawers.top)"], "inside(cup, drawers.top)"),
    (["inside(cup, can_1)"], "inside(cup, can_1)"),
    (["stacked(can_1, can_2)", "stacked(can_2, can_1)"], "stacked(can_1"),
    (["upright(can, -1)"], "upright(can, -1)"),
    (["near(can_1, can_2, 0)"], "near(can_1, can_2, 0)"),
    (["let_go(can_1)", "held(can_1)"], "held(can_1)"),
    (["held(can_1)", "let_go(can_1)"], "let_go(can_1)"),
    (["held(can_1, left)", "held(can_2, left)"], "held(can_2, left)"),
    (["held(can_1, left)", "held(can_1, right)"], "held(can_1, right)"),
    (["inside(can_1, drawers.top)", "inside(can_1, drawers.middle)"], "inside(can_1, drawers.m"),
    (["on(cup, counter.top)"], "on(cup, counter.top)"),
    (["held(cup)"], "held(cup)"),
    (["open(drawers_top)", "closed(drawers_top)"], "closed(drawers_top)"),
    (["lying(cup)", "upright(cup)"], "upright(cup)"),
]
"""Goals beside on(cup, table.top) that no world makes true, and the line that is named."""
POSSIBLE = [
    ["held(can_1)", "held(can_1, left)"],
    ["held(can_1, left)", "held(can_2, right)"],
    ["at(can_1, counter.top)", "on(can_1, counter.top)"],
    ["open(drawers_top)", "closed(drawers_middle)"],
    ["on(can_1, drawers.top)", "inside(can_1, drawers.top)"],
    ["covers(can_1, cup)", "covers(can_1, cup, 0.5)"],
    ["lying(cup)", "upright(cup, 2)"],
]


def with_goals(*goals: str) -> str:
    text = edited("  - upright(cup)\n", "".join(f"  - {goal}\n" for goal in goals))
    return text.replace("on: [counter.top, table.top]", "on: counter.top")


@pytest.mark.parametrize(("goals", "at"), IMPOSSIBLE, ids=["; ".join(g) for g, _ in IMPOSSIBLE])
def test_what_can_never_be_is_refused_at_its_own_goal(goals: list[str], at: str) -> None:
    text = with_goals(*goals)
    with pytest.raises(UsageError, match="is impossible") as error:
        read_page(text, "page.yaml")
    match = re.match(r"page\.yaml:(\d+):5: ", str(error.value))
    assert match and f"- {at}" in text.splitlines()[int(match.group(1)) - 1], error.value


@pytest.mark.parametrize("goals", POSSIBLE, ids="; ".join)
def test_what_can_be_true_at_once_is_read(goals: list[str]) -> None:
    assert len(read_page(with_goals(*goals), "page.yaml").goals) == 1 + len(goals)


@pytest.mark.parametrize(
    ("old", "new", "code", "at"),
    [
        ("on(cup, table.top)", "on(cup, counter.top)", "page/goal", "- on(cup, counter.top)"),
        ("  - on(cup, table.top)\n", "", "page/goal", "- upright(cup)"),
        ("- upright(cup)", "- lying(cup)", "page/goal", "- lying(cup)"),
        ("on(cup, table.top)", "covers(can, cup)", "page/cover", "- covers(can, cup)"),
        ("from: can\n    count: [0, 2]", "from: pot\n    count: 14", "page/room", "from: pot"),
        ("[counter, drawers]", "[counter, sink, a: table, b: table]", "page/room", "[counter,"),
        ("on: counter.top", "on: counter.top\n    within: 0.6", "page/reach", "- on(cup"),
        ("- upright(cup)", "- inside(milk, cup)", "page/fit", "- inside(milk, cup)"),
    ],
    ids=[
        "true at the start",
        "nothing to do",
        "no skill",
        "too small",
        "no room",
        "a short wall",
        "out of reach",
        "too large",
    ],
)
def test_what_cannot_work_is_found_with_its_line(
    tmp_path: Path, old: str, new: str, code: str, at: str
) -> None:
    text = edited(old, new)
    if code == "page/reach":
        text = text.replace("from: cup\n", "from: plate\n").replace("cup_measuring", "plate_dinner")
    if code == "page/cover":
        text = text.replace("count: [0, 2]", "count: 1")
    if code == "page/fit":
        text = text.replace("  can:\n", "  milk:\n    from: carton\n    on: counter.top\n  can:\n")
    path = tmp_path / "page.yaml"
    path.write_text(text)
    breaches = check_page(read_page(text, str(path)), path)
    assert {breach.code for breach in breaches} == {code}
    match = re.match(re.escape(str(path)) + r":(\d+):(\d+): ", breaches[0].message)
    assert match and at in text.splitlines()[int(match.group(1)) - 1], breaches


@pytest.mark.parametrize(
    ("goals", "why"),
    [("stacked(cup, cup)", "ask for nothing"), ("held(can)", "3 things are to be held")],
)
def test_goals_that_ask_for_nothing_or_too_much_are_found(
    tmp_path: Path, goals: str, why: str
) -> None:
    text = edited("count: [0, 2]", "count: 3")
    text = re.sub(r"(?<=\ngoal:\n)(  .*\n)+", f"  - {goals}\n", text)
    (breach,) = check_page(read_page(text, "page.yaml"), tmp_path / "page.yaml")
    assert breach.code == "page/goal" and why in breach.message


def test_a_robot_that_stands_fixed_is_told_so_at_the_room(tmp_path: Path) -> None:
    if find_spec("gym_aloha") is None:
        pytest.skip("gym-aloha is not installed (the extra aloha)")
    text = edited("about:", "robot: aloha\nabout:")
    (breach,) = check_page(read_page(text, "page.yaml"), tmp_path / "page.yaml")
    assert breach.code == "page/room" and "page.yaml:" in breach.message


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_nothing_that_comes_along_is_held_to_be_impossible(path: Path) -> None:
    page = read_page(path.read_text(), str(path))
    for robot in page.robots:
        if robot != "aloha" or find_spec("gym_aloha") is not None:
            assert check_page(page.on(robot), path) == []


@pytest.mark.parametrize("name", [n for n in known("tasks") if n.startswith("home/")])
def test_the_page_of_a_task_is_found_for_its_robot(name: str) -> None:
    place = known("tasks")[name]
    found = page_at(place)
    assert (found is None) == ("pages:" not in place)
    assert found is None or found[0].task == name
