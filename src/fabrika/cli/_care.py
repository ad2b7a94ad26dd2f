"""Commands that look after what is stored: ``verify``, ``repair``, ``merge``, ``split``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabrika.cli._console import Meter, answer, counted, emit, say, table
from fabrika.cli._errors import INTEGRITY, LOSSES
from fabrika.cli._options import FILE, FOLDER, json_option, out_option

if TYPE_CHECKING:
    from fabrika._result import Result
    from fabrika._store import Store


MADE = {
    "generate": ("train",),
    "export": ("dataset",),
    "train": ("policy/policy.onnx",),
    "validate": ("evidence/policy", "evidence/expert", "evidence/zero", "decision.json"),
    "report": ("report.html",),
}
"""What each stage of a run leaves in its folder."""


@click.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--sample", type=click.IntRange(min=1), help="Read only so many episodes of each store."
)
@click.option("--seed", type=int, default=0, show_default=True, help="What the sample is drawn by.")
@json_option
@click.pass_context
def verify(ctx: click.Context, folder: Path, sample: int | None, seed: int, as_json: bool) -> None:
    """Read everything in a run, a store or a LeRobot v3 dataset, and find all damage.

    Of a store, every file is compared with its checksum. A dataset, whoever made it, is checked
    strictly: files, counts, times, statistics, videos. Exit code 6 if there is a finding;
    `fabrika repair` mends stores. A sample is drawn at random, and proves nothing of the rest.

    \b
    Example: fabrika verify runs/toy-reach-v1-s0
    """
    own = _own_findings(folder)
    head = {"path": str(folder), "ok": False, "format": "run", "episodes": 0}
    parts: list[dict[str, Any]] = [{**head, "findings": own}] if own else []
    parts += [_verified(kind, place, sample or 0, seed) for kind, place in _parts(folder, parts)]
    ok = all(part["ok"] for part in parts)
    if as_json:
        whole = {name: value for name, value in parts[0].items() if name != "path"}
        emit(whole if len(parts) == 1 else {"ok": ok, "parts": parts})
    else:
        for part in parts:
            found = part["findings"]
            if found:
                rows = [[f["code"], f["where"], f["message"]] for f in found]
                table(("code", "where", "what is wrong"), rows)
            word = "sound" if part["ok"] else counted(len(found), "finding")
            frames = f", {part['frames']} frames" if "frames" in part else ""
            drawn = f", drawn at random by seed {seed}; no others were read"
            end = f"{frames}{drawn if 'sample' in part else ''}"
            answer(f"{part['path']}: {word}; {part['episodes']} episodes{end}")
            if "digest" in part:
                answer(f"  digest {part['digest']}")
    ctx.exit(0 if ok else INTEGRITY)


def _own_findings(run: Path) -> list[dict[str, str]]:
    """What is wrong with a run's own files, and with what its ledger tells of."""
    from fabrika._errors import FabrikaError
    from fabrika._ledger import read_row
    from fabrika.cli._extend import put_aside_at
    from fabrika.cli._run_folder import read_manifest

    def finding(code: str, where: str, message: str) -> dict[str, str]:
        return {"code": code, "where": where, "message": message}

    found, made = list[dict[str, str]](), dict[str, Any]()
    if not (run / "run.json").is_file():
        return found
    try:
        again = f"; to make it anew: {read_manifest(run)['command']}"
    except FabrikaError as error:
        found.append(finding("manifest", "run.json", str(error)))
        again = ""
    for file in sorted((run / "ledger").glob("*.json")):
        try:
            row = read_row(file)
        except FabrikaError as error:
            found.append(finding("ledger", f"ledger/{file.name}", str(error)))
            continue
        if row.outcome == "done":
            made[row.stage] = max(row.start, made.get(row.stage, row.start))
    for stage, parts in MADE.items():
        there = stage in made and (stage == "generate" or made[stage] >= put_aside_at(run))
        for part in parts if there else ():
            if not (run / part).exists():
                told = f"its ledger tells of it. `fabrika trash` lists what was deleted{again}."
                found.append(finding("missing", part, told))
    return found


def _parts(folder: Path, known: list[dict[str, Any]]) -> Iterator[tuple[str, Path]]:
    """What can be verified in a folder, each with its kind."""
    from fabrika._errors import UsageError

    stores = list(stores_in(folder))
    datasets = [
        f.parent.parent for f in (*folder.glob("meta/info.json"), *folder.glob("*/meta/info.json"))
    ]
    yield from (("store", place) for place in stores)
    yield from (("dataset", place) for place in datasets)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}.")
    if not stores and not datasets and not known:
        runs = [file.parent.name for file in sorted(folder.glob("*/run.json"))]
        if runs:
            raise UsageError(f"{folder} is no run; it holds {', '.join(runs)}: verify each.")
        raise UsageError(
            f"{folder} holds no run, no store of episodes (manifest.json) and no LeRobot dataset "
            "(meta/info.json)."
        )


def stores_in(folder: Path) -> Iterator[Path]:
    """The stores of a run, or the store that the folder is, even if it is damaged."""
    from fabrika._store import is_like_store

    places = {folder: 2, folder / "train": 1} | dict.fromkeys(sorted(folder.glob("evidence/*")), 1)
    yield from (place for place, least in places.items() if is_like_store(place, least))


def _verified(kind: str, place: Path, sample: int, seed: int) -> dict[str, Any]:
    if kind == "dataset":
        from fabrika.data import verify_lerobot

        report = verify_lerobot(place)
        counts = {"episodes": int(report.episodes), "frames": int(report.frames)}
        found = [{"code": f.code, "where": f.where, "message": f.message} for f in report.findings]
        head = {"path": str(place), "ok": report.ok, "format": report.format}
        return {**head, **counts, "findings": found}
    from fabrika._store import FORMAT, MINOR, Store
    from fabrika._verify import verify_store

    with Meter(f"verify {place}", 0) as meter:
        damage = verify_store(place, _progress(meter), sample=sample, seed=seed)
    head = {"path": str(place), "ok": not damage, "format": f"store {FORMAT}.{MINOR}"}
    drawn = {"sample": sample, "seed": seed} if sample else {}
    count = sum(1 for _ in (place / "objects").rglob("*.npz"))
    more: dict[str, Any] = {"episodes": min(sample, count) if sample else count}
    if not damage:
        with Store.open(place) as store:
            more |= {} if sample else {"digest": store.digest()}
    return {**head, **drawn, **more, "findings": [asdict(item) for item in damage]}


def _progress(meter: Meter) -> Any:
    def progress(done: int, total: int) -> None:
        meter.total = total
        meter.update(done)

    return progress


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--policy", type=FILE, help="The policy file, if a store of its evidence is mended.")
@json_option
@click.pass_context
def repair(ctx: click.Context, folder: Path, policy: Path | None, as_json: bool) -> None:
    """Mend a store, or all stores of a run: keep what is sound, make the rest again.

    Every untouched episode is kept. Damaged ones are run again from their scenarios, and must come
    out as they were, to the bit. What is taken out is kept in the store's folder "damaged".

    Exit code 0 if all is as it was, 3 if something is lost that cannot be made again (rows of
    the ledger), 6 if a store cannot be mended or a run lacks more than that, 8 if somebody works
    in it.

    \b
    Example: fabrika repair runs/toy-reach-v1-s0
    """
    from fabrika._errors import UsageError
    from fabrika._repair import Repaired, repair_store

    stores = list(stores_in(folder))
    own = _own_findings(folder)
    if not stores and not own:
        raise UsageError(f"{folder} holds no store of episodes. Datasets are exported again.")
    found: dict[Path, Repaired] = {}
    for place in stores:
        with Meter(f"repair {place}", 0) as meter:
            found[place] = repair_store(
                place,
                run=lambda store, wanted: _again(store, wanted, policy),
                on_progress=_progress(meter),
            )
    if as_json:
        told = [{"path": str(place), **asdict(done)} for place, done in found.items()]
        emit([*told, {"path": str(folder), "not_mended": own}] if own else told)
    else:
        for place, done in found.items():
            for line in _repaired_words(place, done):
                answer(line)
        for item in own:
            answer(f"{folder}: not mended: {item['where']}: {item['message']}")
    ctx.exit(INTEGRITY if own else LOSSES if any(done.lost for done in found.values()) else 0)


def _again(store: Store, wanted: list[int], policy: Path | None) -> Iterator[Result]:
    """Run scenarios of a store once more, by the actor that made it."""
    from fabrika._errors import UsageError
    from fabrika._pool import Job
    from fabrika._station import ACTORS, Station, policy_name

    actor = str(store.manifest["actor"])
    if actor not in ACTORS:
        file = policy or store.path.parent.parent / "policy" / "policy.onnx"
        if not file.is_file() or policy_name(file) != actor:
            raise UsageError(
                f"{store.path} is of {actor}, whose file is needed to run {len(wanted)} scenarios "
                "again: give it with --policy."
            )
        actor = str(file)
    names = {name: str(store.manifest.get(name, "")) for name in ("task", "draw")}
    job = Job(actor=actor, split=store.manifest["split"], store=store.path, **names)
    with closing(Station(job)) as station, Meter("run again", len(wanted)) as meter:
        for number, index in enumerate(wanted, 1):
            yield station.run(index)  # one by one: what was made before Ctrl-C is kept
            meter.update(number)


def _repaired_words(place: Path, done: Any) -> Iterator[str]:
    if not done.damage:
        yield f"{place}: sound; {done.kept} episodes, nothing to mend"
        return
    for item in done.damage:
        say(f"  {item.code}: {item.where}: {item.message}")
    yield (
        f"{place}: {counted(len(done.damage), 'finding')} mended; {done.kept} episodes kept, "
        f"{len(done.renamed)} put in their place, {len(done.regenerated)} made again"
    )
    if done.lost:
        yield f"lost: {', '.join(done.lost)}"
    if done.damaged:
        yield f"what was taken out: {done.damaged}"


@click.command()
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@out_option("The new store; nothing may be there yet.", required=True)
@json_option
def merge(folders: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Put stores (or the training stores of runs) of one task and actor together in a new one.

    Scenarios that several have are there once. The sources are checked, and stay as they are.

    \b
    Example: fabrika merge runs/a runs/b --out runs/both
    """
    from fabrika.cli._find import find_store
    from fabrika.data._combine import merge_stores

    with Meter("merge", 0) as meter:
        sources = [find_store(folder, "train") for folder in folders]
        count = merge_stores(sources, out, _progress(meter))
    if as_json:
        emit({"path": str(out), "scenarios": count})
    else:
        answer(f"{out}: {count} scenarios")


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--parts", type=click.IntRange(min=1), required=True, help="How many new stores.")
@out_option("Where they go: DIR/part-0 and so on.", required=True)
@json_option
def split(folder: Path, parts: int, out: Path, as_json: bool) -> None:
    """Take a store apart: its scenarios in new stores, in order. `fabrika merge` undoes it.

    \b
    Example: fabrika split runs/demos --parts 2 --out runs/halves
    """
    from fabrika.cli._find import find_store
    from fabrika.data._combine import split_store

    with Meter("split", 0) as meter:
        made = split_store(find_store(folder, "train"), parts, out, _progress(meter))
    if as_json:
        emit({"parts": [str(path) for path in made]})
    else:
        for path in made:
            answer(str(path))
