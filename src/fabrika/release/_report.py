"""The evidence report of a run: one HTML file that needs no network and no script."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fabrika._episode import Episode
from fabrika._errors import FabrikaError
from fabrika._result import Result
from fabrika._store import Store
from fabrika._tier import TIERS
from fabrika._world import World
from fabrika.release import _charts, _tables, _words
from fabrika.release._facts import Facts, flatten, promises, read_run, scenarios, separation
from fabrika.release._film import encode_h264, encode_jpeg, film, pictured, stills, write_whole

TIER_WORDS = "; ".join(f"{tier} {words}" for tier, words in TIERS.items())
VIDEO_RATE = 12.5
"""Pictures a second in the report's videos [Hz]; they play at the speed of the simulation."""

LIMITS = (
    "Simulation only; nothing here says anything about a real robot. Level 0 credibility: there "
    "is no real-robot data in it.",
    "The bound holds for scenarios drawn as these were (see what was randomised), for this task, "
    "this robot description and this policy file. Another object, robot or engine version needs "
    "new evidence.",
    "Judging the same scenarios again after every change of the policy slowly fits them. The "
    "release split exists so that a candidate is judged on scenarios drawn for it alone.",
    "The checks measure what the task's section on success and safety says, and nothing else. No "
    "claim is made about functional safety (no PL, no SIL): keep a learned policy outside the "
    "safety function of a machine.",
)


def report(run_dir: Path) -> Path:
    """Write ``report.html`` into a finished run folder, and give its path.

    The videos shown in it are also left in ``videos/``. Raises `UsageError` if the folder is not
    a finished run, `IntegrityError` if what it holds is not what was written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    facts = read_run(run_dir)
    page = Environment(
        loader=PackageLoader("fabrika.release", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    ).get_template("report.html.j2")
    target = run_dir / "report.html"
    text = page.render(**_words_and_tables(facts), **_charts_of(facts), **_pictures(facts))
    write_whole(target, text.encode())
    return target


def _words_and_tables(facts: Facts) -> dict[str, Any]:
    manifest, decision = facts.manifest, facts.decision
    preventable, unsolved = facts.preventable()
    accepted, tried = sum(r.accepted for r in facts.train), len(facts.train)
    seconds = sum(row.wall_seconds for row in facts.ledger)
    return {
        "title": f"{facts.task.name}, seed {manifest.get('seed', 0)}",
        "subtitle": facts.task.description.strip().splitlines()[0],
        "passed": bool(decision["passed"]),
        "verdict": _words.verdict_words(decision),
        "claim": _words.claim_words(decision),
        "episodes": len(facts.policy),
        "failure_words": _words.failure_words(len(preventable), len(unsolved)),
        "yield_words": (
            f"{accepted} of {tried} expert episodes passed every check and became training data "
            f"({_words.percent_down(accepted / tried)}). Leaving out failures is allowed here, and "
            "never for evidence."
            if tried
            else "The folder holds no training episodes."
        ),
        "cost_words": f"{seconds / 60:.1f} minutes in all on this machine: {_machine(facts)}.",
        "command": str(manifest.get("command", "")),
        "limits": LIMITS,
        "fabrika_version": version("fabrika"),
        "brackets": _tables.brackets(facts),
        "failures": _tables.failures(facts),
        "margins": _tables.margins(facts),
        "quality": _tables.quality(facts),
        "rejections": _tables.rejections(facts),
        "ledger": _tables.ledger(facts),
        "versions": _tables.pairs("Versions.", manifest.get("versions", {})),
        "identity": _tables.pairs("Digests (SHA-256).", _digests(facts)),
        "tiers": _tables.pairs(f"Determinism. Made again, {TIER_WORDS}.", promises(facts.folder)),
        "card": _tables.pairs("Settings of the run.", manifest.get("settings", {})),
    }


def _machine(facts: Facts) -> str:
    hardware = facts.manifest.get("hardware", {})
    return ", ".join(f"{name} {value}" for name, value in hardware.items()) or "not recorded"


def _digests(facts: Facts) -> dict[str, str]:
    found = {}
    stores = {"train": facts.folder / "train"}
    stores |= {f"evidence/{role}": facts.folder / "evidence" / role for role in facts.evidence}
    for name, path in stores.items():
        if path.is_dir():
            with Store.open(path) as store:
                found[name] = store.digest()
    policy = facts.folder / "policy" / "policy.onnx"
    if policy.is_file():
        found["policy/policy.onnx"] = hashlib.sha256(policy.read_bytes()).hexdigest()
    return found


def _charts_of(facts: Facts) -> dict[str, Any]:
    ok = np.array([r.accepted for r in facts.policy], bool)
    drawn = [{**flatten(s.params), "instruction": s.instruction} for s in scenarios(facts)]
    charts = []
    for name in sorted({key for params in drawn for key in params}):
        values = [params.get(name, float("nan")) for params in drawn]
        charts.append(_parameter_chart(name, values, ok))
    charts.sort(key=lambda chart: -chart["strength"])
    # The page takes charts as they are: _charts escapes every word that it puts into them.
    return {"parameters": charts, "learning": _curve_chart(facts.curve)}


def _parameter_chart(name: str, values: Sequence[float | str], ok: Any) -> dict[str, Any]:
    if any(isinstance(value, str) for value in values):
        words = [str(value) for value in values]
        label = f"{name}: how often each word was drawn, passed and failed"
        return {
            "name": name,
            "note": "",
            "strength": 0.0,
            "svg": _charts.categories(words, ok, label),
        }
    numbers = np.array(values, np.float64)
    finite = np.isfinite(numbers)
    strength = separation(numbers[finite], ok[finite])
    label = f"{name}: distribution of what was drawn, passed and failed"
    note = f"separation {strength:.2f}" if strength else ""
    svg = _charts.histogram(numbers, ok, label)
    return {"name": name, "note": note, "strength": strength, "svg": svg}


def _curve_chart(curve: Any) -> str:
    """The learning curve: every series of numbers beside "step", as drawn by training."""
    steps = curve.get("step") or curve.get("steps")
    if not steps:
        return ""
    lines = {
        name: (np.array(steps), np.array(values, np.float64))
        for name, values in curve.items()
        if "loss" in name and isinstance(values, list) and len(values) == len(steps)
    }
    label = "Learning curve: loss against training step, logarithmic"
    return _charts.curve(lines, "training step", label, log=True) if lines else ""


def _pictures(facts: Facts) -> dict[str, Any]:
    """Videos and stills; without a GL, or cameras, the report says so and stands without."""
    empty: dict[str, Any] = {"films": [], "stills": [], "no_pictures": ""}
    try:
        world = facts.task.build()
        with closing(world):
            pictured(world)
            return {**empty, "films": list(_films(facts, world)), "stills": _stills(facts, world)}
    except FabrikaError as error:
        return {**empty, "no_pictures": f"There are no pictures: {error}"}


def _chosen(facts: Facts) -> list[tuple[str, Result]]:
    """Two successes and up to four failures of the policy, and one episode of the expert."""
    preventable, unsolved = facts.preventable()
    chosen = [("policy", r) for r in facts.policy if r.accepted][:2]
    chosen += [("policy", r) for r in (preventable[:3] + unsolved)[:4]]
    chosen += [("expert", r) for r in facts.evidence.get("expert", ()) if r.accepted][:1]
    return [(role, r) for role, r in chosen if r.digest]


def _films(facts: Facts, world: World) -> Iterator[dict[str, str]]:
    for role, row in _chosen(facts):
        episode = _episode(facts, role, row)
        every = max(1, round(1 / (VIDEO_RATE * episode.dt)))
        target = facts.folder / "videos" / f"{role}-{row.index}.mp4"
        data = encode_h264(
            film(world, episode, every=every), 1 / (episode.dt * every), target=target
        )
        how = "succeeds" if row.accepted else f"fails ({row.reason})"
        label = f"The {role} {how} in scenario {row.index}: “{episode.scenario.instruction}”"
        yield {"label": label, "data": b64encode(data).decode()}


def _stills(facts: Facts, world: World) -> list[dict[str, Any]]:
    """Every camera at the start, the middle and the end of the first stored episode."""
    rows = [r for r in facts.policy if r.digest]
    if not rows:
        return []
    episode = _episode(facts, "policy", rows[0])
    found = []
    for camera, pictures in stills(world, episode).items():
        shown = [
            {
                "data": b64encode(encode_jpeg(picture)).decode(),
                "label": f"camera {camera}, {moment} of scenario {rows[0].index}",
            }
            for picture, moment in zip(pictures, ("start", "middle", "end"), strict=True)
        ]
        found.append({"label": f"Camera {camera}: start, middle, end", "pictures": shown})
    return found


def _episode(facts: Facts, role: str, row: Result) -> Episode:
    with Store.open(facts.folder / "evidence" / role) as store:
        return store.episode(row)
