"""Laws of jobs for clusters: shares are a partition, and no text of the user becomes a program."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fabrika._errors import UsageError
from fabrika.cluster import SYSTEMS, ArrayJob, System, job_file, next_command

GOLDEN = Path(__file__).parent / "golden" / "jobs"
TOY = "toy/reach-v1"
NASTY = (
    "'; touch canary; '",
    '"; touch canary; "',
    "$(touch canary)",
    "`touch canary`",
    "${HOME}",
    "$(HOME)",
    "$$(JOB_COMPLETION_INDEX)",
    "a\ntouch canary\n",
    "a \n\n b\n#SBATCH --partition=stolen\n",
    "a b\tc",
    '\\" : - | > & * ! % @ # {} []',
    "{{ 7 * 7 }}",
    "{% raw %}",
    "-n",
    "~",
    "é\u0085\u2028\U0001f916",
    "\x07\x1b[31m\x7f",
    "%A_%a",
)
TEXT = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.lists(st.sampled_from(NASTY), max_size=3).map("".join),
)
SETTINGS: dict[System, dict[str, Any]] = {
    "slurm": {"queue": "gpu"},
    "kueue": {"queue": "team", "image": "fabrika:1", "volume": ("demos", "/mnt")},
    "skypilot": {"image": "fabrika:1", "volume": ("demos", "/mnt")},
    "osmo": {"queue": "team", "image": "fabrika:1", "volume": ("/data", "/mnt")},
}


def make(system: System, **fields: Any) -> ArrayJob:
    whole = {"task": TOY, "store": "/mnt/store", "count": 12, "jobs": 3, **SETTINGS[system]}
    return ArrayJob(**{**whole, **fields})


# Shares -------------------------------------------------------------------------------------


@given(st.integers(0, 10**9), st.integers(1, 5000), st.integers(1, 5000))
def test_the_shares_are_a_partition(start: int, count: int, jobs: int) -> None:
    assume(jobs <= count)
    job = ArrayJob(task=TOY, store="/s", start=start, count=count, jobs=jobs)
    shares = [job.share(number) for number in range(jobs)]
    assert list(itertools.chain(*shares)) == list(range(start, start + count))
    sizes = [len(share) for share in shares]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1


# Reading the files back ---------------------------------------------------------------------


def parse(text: str) -> Any:
    """The YAML that the files use: block mappings and lists, quoted text, `|`, flat lists."""
    lines = [line for line in text.split("\n") if not line.startswith("#")]
    assert lines.pop() == "", "a file ends with its last line"
    assert all(line.isascii() and line.isprintable() for line in lines), "YAML allows few others"
    value, rest = _node(lines, 0)
    assert not rest
    return value


def _node(lines: list[str], indent: int) -> tuple[Any, list[str]]:
    items: list[Any] = []
    while lines and lines[0].startswith(" " * indent) and lines[0][indent] != " ":
        line = lines[0][indent:]
        if line.startswith("- ") and not re.match(r"- (\"|\||\d|true|false|\[)", line):
            lines[0] = " " * (indent + 2) + line[2:]  # a mapping begins on the dash's own line
            value, lines = _node(lines, indent + 2)
            items.append(value)
            continue
        found = re.fullmatch(r'(-|[\w-]+:|"[^"]*":)(?: (.*))?', line)
        assert found, line
        head, rest = found.groups()
        lines = lines[1:]
        if rest is None:
            value, lines = _node(lines, indent + 2)
        elif rest == "|":
            block = list(
                itertools.takewhile(lambda x: not x or x.startswith(" " * (indent + 2)), lines)
            )
            lines = lines[len(block) :]
            value = "".join(line[indent + 2 :] + "\n" for line in block)
        else:
            value = _flat(rest)
        items.append(value if head == "-" else (head.rstrip(":").strip('"'), value))
    assert items, lines
    pairs = all(isinstance(item, tuple) for item in items)
    assert not pairs or len(dict(items)) == len(items), "a key comes twice"
    return (dict(items) if pairs else items), lines


def _flat(text: str) -> Any:
    wide = re.compile(r"((?:\\\\)*)\\U([0-9a-f]{8})")
    text = wide.sub(lambda m: m[1] + json.dumps(chr(int(m[2], 16)))[1:-1], text)
    return json.loads(text)


@given(TEXT, TEXT)
def test_what_is_written_is_read_back(text: str, other: str) -> None:
    from fabrika.cluster._formats import _yaml

    lines = f"x{text}\n{other}\n"
    data = {"a": [{"b": text, "c": [text, other]}], "d": {"e": other + "\n"}, "f": [1, True, lines]}
    assert parse(_yaml(data)) == data


# Running what was written -------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench() -> Iterator[Path]:
    """A folder with a `fabrika` that writes down its words, and ends with $CODE."""
    with tempfile.TemporaryDirectory() as folder:
        fake = Path(folder) / "fabrika"
        fake.write_text('#!/bin/sh\nprintf "%s\\0" "$@" >"$RECORD"\nexit "${CODE:-0}"\n')
        fake.chmod(0o755)
        yield Path(folder)


def run(bench: Path, words: Sequence[str], **environment: str) -> tuple[list[str], int]:
    """The words that fabrika was given, and how the job's program ended."""
    record = bench / "record"
    record.unlink(missing_ok=True)
    path = f"{bench}{os.pathsep}/usr/bin{os.pathsep}/bin"
    variables = {"PATH": path, "RECORD": str(record), "HOME": "/canary", **environment}
    done = subprocess.run(words, cwd=bench, env=variables, capture_output=True, check=False)
    assert record.exists(), done.stderr
    assert {path.name for path in bench.iterdir()} <= {"fabrika", "record", "job.sh"}
    return record.read_bytes().decode().split("\0")[:-1], done.returncode


def kubernetes(word: str, variables: dict[str, str]) -> str:
    """What Kubernetes makes of a word of a command: $(NAME) is replaced, $$ is $."""
    pattern = re.compile(r"\$(?:(\$)|\(([^)]*)\))", re.DOTALL)
    return pattern.sub(lambda m: m[1] or variables.get(m[2], m[0]), word)


def start(system: System, job: ArrayJob, number: int, bench: Path) -> tuple[list[str], int]:
    """Run one share as its cluster would."""
    text = job_file(system, job)
    if system == "slurm":
        (bench / "job.sh").write_text(text)
        return run(bench, ["bash", "job.sh"], SLURM_ARRAY_TASK_ID=str(number))
    data = parse(text)
    if system == "skypilot":
        words = ["bash", "-c", data["run"]]
        return run(bench, words, SKYPILOT_NODE_RANK=str(number))
    if system == "osmo":
        task = data["workflow"]["tasks"][number]
        return run(bench, task["command"] + task["args"])
    container = data["spec"]["template"]["spec"]["containers"][0]
    variables = {"JOB_COMPLETION_INDEX": str(number), "HOME": "/canary"}
    words = [kubernetes(word, variables) for word in container["command"] + container["args"]]
    return run(bench, words, **variables)


@pytest.mark.parametrize("system", SYSTEMS)
@given(
    actor=TEXT,
    folder=TEXT,
    word=TEXT,
    start_at=st.integers(0, 10**9),
    count=st.integers(1, 10**9),
    jobs=st.integers(1, 40),
    number=st.integers(0, 39),
)
@settings(max_examples=60)
@example("'\n$(touch canary)\n", "$(HOME)", '"', 0, 7, 3, 2)
@example("$$(HOME)", "\n#SBATCH --array=0-999\n", "\\", 5, 10**9, 40, 39)
def test_no_text_becomes_a_program(
    system: System,
    bench: Path,
    actor: str,
    folder: str,
    word: str,
    start_at: int,
    count: int,
    jobs: int,
    number: int,
) -> None:
    assume(".." not in folder.split("/"))
    jobs = min(jobs, count)
    job = make(
        system,
        actor=actor,
        store=f"/mnt/{folder}",
        command=("fabrika", word),
        start=start_at,
        count=count,
        jobs=jobs,
    )
    try:
        text = job_file(system, job)
    except UsageError as refusal:
        assert system == "osmo" and re.search(r"\{[{%#]|\$[$(]", actor + " " + folder + " " + word)
        assert "OSMO would replace" in str(refusal)
        return
    assert system != "osmo" or not re.search(r"\{[{%#]|\$[$(]", text), "Jinja sees the whole file"
    number %= jobs
    words, code = start(system, job, number, bench)
    assert words == job.rollout(job.share(number))[1:] and code == 0


@given(TEXT)
def test_no_text_becomes_a_directive_of_slurm(text: str) -> None:
    """sbatch reads directives up to the first command; there they are those of a plain job."""

    def directives(job: ArrayJob) -> list[str]:
        head = itertools.takewhile(lambda x: x.startswith("#"), job_file("slurm", job).splitlines())
        return [line for line in head if line.startswith("#SBATCH") and "job-name" not in line]

    hostile = make("slurm", task=f"a{text}", actor=text, command=("fabrika", text))
    assert directives(hostile) == directives(make("slurm"))
    assert re.fullmatch(r"fabrika-[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", hostile.name)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("code", [0, 2, 3, 4, 8])
def test_the_exit_code_reaches_the_cluster(
    system: System, code: int, bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everywhere but on SkyPilot, where a node that fails ends the others: there 3 is done."""
    fake = bench / "fabrika"
    text = fake.read_text()
    try:
        fake.write_text(text.replace("${CODE:-0}", str(code)))
        _, found = start(system, make(system), 0, bench)
    finally:
        fake.write_text(text)
    assert found == (0 if system == "skypilot" and code == 3 else code)


# The files as they are ----------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_golden(system: System) -> None:
    """Written down whole, so that a change of a file is seen by whoever reviews it."""
    options = {"minutes": 240, "memory": 8}
    if system == "skypilot":
        del options["minutes"]
    elif system != "osmo":
        options["at_once"] = 2
    job = make(system, start=1000, count=100, workers=4, **options)
    golden = GOLDEN / f"{system}{'.sh' if system == 'slurm' else '.yaml'}"
    assert job_file(system, job) == golden.read_text(), f"if it is meant, write {golden} anew"


def test_another_job_has_another_name() -> None:
    names = {make("slurm", **change).name for change in ({}, {"count": 13}, {"actor": "zero"})}
    assert len(names) == 3 and make("slurm").name in names


BAD: list[tuple[System, dict[str, Any], str]] = [
    ("slurm", {"jobs": 13}, "every job needs a scenario"),
    ("slurm", {"jobs": 0}, "0 jobs"),
    ("slurm", {"start": -1}, "scenarios -1"),
    ("slurm", {"count": 10**12 + 1}, "scenarios 0"),
    ("slurm", {"at_once": 4}, "4 of 3 jobs"),
    ("slurm", {"queue": "a\n#SBATCH --exclusive"}, "not the name of a queue"),
    ("slurm", {"queue": "a b"}, "not the name of a queue"),
    ("slurm", {"store": "runs/demos"}, "from / on"),
    ("slurm", {"store": "/mnt/../etc"}, "from / on"),
    ("slurm", {"actor": "a\0b"}, "no text"),
    ("slurm", {"actor": "\udcff"}, "no text"),
    ("slurm", {"task": "--help"}, "task"),
    ("slurm", {"command": ()}, "command"),
    ("slurm", {"image": "fabrika"}, "slurm knows no --image"),
    ("slurm", {"minutes": 2}, "at least 3"),
    ("kueue", {"image": ""}, "kueue needs --image"),
    ("kueue", {"queue": ""}, "kueue needs --queue"),
    ("kueue", {"volume": None}, "kueue needs --volume"),
    ("kueue", {"volume": ("a b", "/mnt")}, "not a name"),
    ("kueue", {"volume": ("demos", "/other")}, "does not lie in /other"),
    ("skypilot", {"at_once": 1}, "skypilot knows no --at-once"),
    ("skypilot", {"minutes": 10}, "skypilot knows no --time"),
    ("skypilot", {"queue": "q"}, "skypilot knows no --queue"),
    ("osmo", {"image": ""}, "osmo needs --image"),
    ("osmo", {"volume": ("/a:/b", "/mnt")}, "no other colon"),
]


@pytest.mark.parametrize(("system", "fields", "told"), BAD)
def test_what_cannot_be_is_refused(system: System, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        job_file(system, make(system, **fields))


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_next_command_names_the_file(system: System) -> None:
    assert next_command(system, make(system), "some file")[-1] == "some file"
