"""The strict check of a LeRobot v3 dataset, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fabrika._errors import UsageError
from fabrika.data._checksums import check_checksums
from fabrika.data._findings import Findings, Report
from fabrika.data._layout import INFO
from fabrika.data._verify_episodes import Episodes, check_stray_videos, read_episodes
from fabrika.data._verify_info import Claims, check_splits, read_claims, read_tasks
from fabrika.data._verify_language import check_language, check_recoveries
from fabrika.data._verify_motion import check_duplicates, check_motion
from fabrika.data._verify_rows import Rows, scan_rows
from fabrika.data._verify_stats import check_stats
from fabrika.data._verify_videos import scan_stored_pictures, scan_videos

Say = Callable[[str], None]
"""Called with what is about to be checked."""


def verify_lerobot(path: Path, *, on_progress: Say | None = None) -> Report:
    """Check a LeRobot v3 dataset, from any writer, and report whatever is wrong with it.

    All of it is read: rows in batches, videos a picture at a time, statistics computed again.
    Nothing is written. `CODES` lists what can be found. Damaged files become findings.

    Raises `UsageError` if the folder is not there, or has no meta/info.json.
    """
    root = Path(path)
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder. Give the folder that holds {INFO}.")
    if not (root / INFO).is_file():
        raise UsageError(f"{root} is not a LeRobot dataset: there is no {INFO} in it.")
    say = on_progress or (lambda _: None)
    findings = Findings()
    say("checksums")
    check_checksums(root, findings)
    say("metadata")
    claims = read_claims(root, findings)
    tasks = read_tasks(claims, findings)
    episodes = read_episodes(claims, findings)
    check_splits(claims, episodes.count, findings)
    say("rows")
    rows = scan_rows(claims, findings)
    _check_totals(claims, rows, findings)
    _check_episodes(claims, episodes, rows, findings)
    if tasks is not None:
        _check_tasks(tasks, episodes, rows, findings)
    check_language(claims, rows, findings)
    check_recoveries(claims, findings)
    say("videos")
    check_stray_videos(claims, episodes, findings)
    pictures = scan_videos(claims, episodes, findings)
    scan_stored_pictures(claims, rows, findings)
    say("statistics")
    check_stats(claims, rows, pictures, findings)
    check_motion(claims, rows, findings)
    check_duplicates(rows, pictures, findings)
    return Report(
        format=f"LeRobot {claims.version}",
        episodes=len(rows.seen),
        frames=rows.count,
        findings=findings.all(),
    )


def _check_totals(claims: Claims, rows: Rows, findings: Findings) -> None:
    if not rows.count:
        findings.add("dataset-empty", "data", "not one row can be read.")
    if rows.whole and claims.frames is not None and claims.frames != rows.count:
        findings.add("info-totals", INFO, f"{claims.frames} rows; the data have {rows.count}.")


def _check_episodes(claims: Claims, episodes: Episodes, rows: Rows, findings: Findings) -> None:
    """The episode table against the rows."""
    lengths = episodes.columns.get("length")
    places = episodes.places("data")
    named = {claims.data_file(place): place for place in places}
    for path in sorted(named):
        if not path.is_file():
            message = f"episode {places.index(named[path])} should be in it."
            findings.add("file-missing", path.relative_to(claims.root), message)
    for path in rows.files if places else ():
        if path not in named:
            message = "no episode lies in it, but readers load it."
            findings.add("file-stray", path.relative_to(claims.root), message)
    if rows.whole and len(rows.seen) != episodes.count:
        message = f"the table has {episodes.count} episodes, the rows {len(rows.seen)}."
        findings.add("episode-table", "meta/episodes", message)
    for seen in rows.seen if rows.whole else ():
        if not 0 <= seen.episode < episodes.count:
            continue
        where = f"episode {seen.episode}"
        if lengths is not None and lengths[seen.episode] != seen.length:
            message = f"its length is {lengths[seen.episode]}, it has {seen.length} rows."
            findings.add("episode-length", where, message)
        if places and seen.files != [claims.data_file(places[seen.episode])]:
            there = ", ".join(str(file.relative_to(claims.root)) for file in seen.files)
            findings.add("episode-place", where, f"its rows are in {there}.")


def _check_tasks(tasks: list[str], episodes: Episodes, rows: Rows, findings: Findings) -> None:
    used: set[int] = set()
    for seen in rows.seen:
        used |= seen.tasks
        bad = sorted(index for index in seen.tasks if not 0 <= index < len(tasks))
        if bad:
            message = f"task_index {bad[0]} of {len(tasks)} tasks."
            findings.add("row-task", f"episode {seen.episode}", message)
        elif 0 <= seen.episode < len(episodes.tasks):
            named, found = set(episodes.tasks[seen.episode]), {tasks[i] for i in seen.tasks}
            if named != found:
                message = f"it names {sorted(named)}, its rows have {sorted(found)}."
                findings.add("episode-tasks", f"episode {seen.episode}", message)
    for index in sorted(set(range(len(tasks))) - used) if rows.whole else ():
        findings.add("task-unused", "meta/tasks.parquet", f"no row has {tasks[index][:80]!r}.")
