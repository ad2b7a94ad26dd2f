"""A gallery of tasks: a picture and a short video of each, and a table of what was measured."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from fabrika._episode import Episode
from fabrika._world import World
from fabrika.release._film import encode_h264, film, write_whole

POSTER_BYTES, CLIP_BYTES = 40_000, 300_000
"""Most that a picture and a video may take [B]."""
SPEED = 4
"""How much faster than life a video runs."""
_FPS = 15
_MOMENT = 0.6
"""The share of an episode at which its picture is taken."""
START, END = "<!-- gallery -->\n", "<!-- /gallery -->"
"""What the table stands between, in a page that has it."""

Row = Mapping[str, Any]
"""What was measured of one task, as results.json has it."""


def poster(world: World, episode: Episode, target: Path) -> None:
    """Write a picture of the episode, PNG: the scene, and what the robot's own cameras see."""
    from PIL import Image

    for height, colours in ((300, 128), (300, 48), (240, 32), (180, 16)):
        moment = round(_MOMENT * (len(episode.states) - 1))
        frame = next(islice(film(world, episode, height=height), moment, None))
        buffer = io.BytesIO()
        Image.fromarray(frame).quantize(colours).save(buffer, "png", optimize=True)
        if buffer.tell() <= POSTER_BYTES:
            break
    write_whole(target, buffer.getvalue())


def clip(world: World, episode: Episode, target: Path) -> None:
    """Write a video of the episode, `SPEED` times as fast, MP4."""
    every = max(1, round(SPEED / _FPS / episode.dt))
    fps = SPEED / (every * episode.dt)
    for height in (240, 180, 120):
        data = encode_h264(film(world, episode, height=height, every=every), fps)
        if len(data) <= CLIP_BYTES:
            break
    write_whole(target, data)


def gallery_table(rows: Iterable[Row]) -> str:
    """What was measured, as a Markdown table; what is experimental and why; on which machines."""
    rows = list(rows)
    head = (
        "task",
        "accepted",
        "at least, at 95 %",
        "rejected for",
        "episode [s]",
        "times real time, per core",
        "CPU seconds for an accepted episode",
        "start cells: accepted, drawn, in all",
    )
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        tried, passed = row["scenarios"], row["accepted"]
        cost = row["cpu_seconds_per_accepted"]
        cells = (
            f"`{row['task']}`" + (" (experimental)" if row["experimental"] else ""),
            f"{passed} of {tried} ({passed / tried:.1%})",
            f"{row['at_least']:.1%}",
            ", ".join(f"{code} {count}" for code, count in row["reasons"].items()) or "-",
            f"{row['mean_seconds']:.1f}",
            f"{row['real_time']:.1f}",
            "-" if cost is None else f"{cost:.2f}",
            "; ".join(
                f"{name}: {c['accepted']}, {c['drawn']}, {c['cells']}"
                for name, c in row["coverage"].items()
            )
            or "-",
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    told = [row for row in rows if row["experimental"]]
    lines += ["", "Experimental:", ""] if told else []
    lines += [f"- `{row['task']}`: {row['experimental']}" for row in told]
    machines: dict[str, list[str]] = {}
    for row in rows:
        machines.setdefault(_machine(row["hardware"]), []).append(row["task"])
    for machine, tasks in machines.items():
        which = "" if len(machines) == 1 else f" {', '.join(f'`{task}`' for task in tasks)}:"
        lines += ["", f"Measured on{which} {machine}."]
    return "\n".join(lines) + "\n"


def _machine(hardware: Mapping[str, Any]) -> str:
    """A machine, in words."""
    return f"{hardware['cores']} cores of {hardware['processor']}, {hardware['memory']}"


def gallery_page(rows: Sequence[Row]) -> str:
    """The gallery: the table, and each task with its picture, its video and its hard cells."""
    lines = [
        "<!-- Written by `fabrika gallery`. -->",
        "# Gallery",
        "",
        "Each task as the expert does it, in the train split. Videos run four times as fast as "
        "life. `fabrika gallery` made this page, and measured what it says.",
        "",
        gallery_table(rows),
        "A start cell is a sixteenth of where the first thing may stand on its spot, or of where "
        "the robot may begin. Row 1 is the furthest from who stands before the spot (of the robot: "
        "from the back wall), column 1 is the left one. Further scenarios were drawn for cells "
        "without an accepted episode; they are not in the yield.",
        "",
    ]
    for row in rows:
        lines += [f"## {row['task']}", "", row["about"], ""]
        if row["picture"]:
            lines += [f"[![{row['about']}]({row['picture']})]({row['video']})", ""]
        if row["retried"]:
            more = f"{row['retried']} more scenarios were drawn in start cells without an accepted"
            lines += [f"{more} episode.", ""]
        if row["hard_cells"]:
            lines += [
                f"Hard cells, without an accepted episode: {'; '.join(row['hard_cells'])}.",
                "",
            ]
    return "\n".join(lines).rstrip() + "\n"


def with_table(page: str, table: str) -> str | None:
    """The page with the table between its markers; None if it has none."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    return before + start + table + end + after if start and end else None
