"""The command ``view``: an episode in the browser."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fabrika._errors import UsageError
from fabrika.cli._console import Meter, answer, say
from fabrika.cli._options import actor_option, finding_options, split_option

if TYPE_CHECKING:
    from fabrika._scenario import Split
    from fabrika.view import Film, Story


@click.command()
@click.argument("task", required=False)
@actor_option(default="expert", show_default=True)
@split_option(default="train", show_default=True)
@click.option(
    "--index",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="I",
    help="Which scenario of the split.",
)
@click.option(
    "--episode",
    metavar="RUN:INDEX",
    help="A recorded episode instead of a task: RUN:INDEX, STORE:INDEX, or the start of its "
    "digest. Nothing is simulated again.",
)
@finding_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to serve: loopback.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="P",
    help="0: a free one.",
    show_default=True,
)
@click.option("--open/--no-open", "opens", default=True, help="Open the browser.")
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop by itself.  [default: serve until Ctrl-C]",
)
def view(
    task: str | None,
    actor: str,
    split: Split,
    index: int,
    episode: str | None,
    role: str,
    folder: Path,
    host: str,
    port: int,
    opens: bool,
    seconds: float | None,
) -> None:
    """Open a task's scene in the browser, with the expert playing.

    The episode is rolled out and judged first, then it can be played, paused and searched: with
    contacts, goals, and what the actor is at. The page is served on this machine alone, behind a
    token in its address, until Ctrl-C.

    \b
    Example: fabrika view home/mug-to-shelf-v1 --index 3
    """
    from fabrika.view import Page

    if (task is None) == (episode is None):
        raise UsageError("name a task, or a recorded episode with --episode RUN:INDEX.")
    if task is None:
        film, story = recorded(str(episode), role, folder)
    else:
        film, story = rolled_out(task, actor, split, index)
    with suppress(KeyboardInterrupt), closing(Page(film, story, host=host, port=port)) as page:
        answer(page.url)
        if opens and not open_browser(page.ticket):
            say("no browser could be opened: open the address above.")
        say("Ctrl-C ends it.")
        end = None if seconds is None else time.monotonic() + seconds
        page.run(lambda: end is not None and time.monotonic() >= end)


def rolled_out(name: str, spec: str, split: Split, index: int) -> tuple[Film, Story]:
    """A scenario of a task, acted in by an actor and judged now."""
    from fabrika._check import judge
    from fabrika._registry import task as find_task
    from fabrika._rollout import rollout
    from fabrika._station import make_actor
    from fabrika.sim import Playback, require_simulated
    from fabrika.view import Story, Watched

    task = find_task(name)
    with closing(require_simulated(task.build())) as world:
        steps = round(task.horizon / world.dt)
        with Meter(f"{spec} in {split} {index}", steps) as meter:
            actor = Watched(make_actor(spec, task, world), meter.update)
            episode = rollout(actor, world, task.scenario(split, index), task.horizon)
        episode = episode.with_verdict(judge(episode, task.checks))
        film = Playback(world, episode)
    return film, Story(episode=episode, checks=task.checks, doings=tuple(actor.doings))


def recorded(text: str, role: str, folder: Path) -> tuple[Film, Story]:
    """An episode as it was recorded, with the verdict that it got then."""
    from fabrika._registry import task as find_task
    from fabrika._store import Store
    from fabrika.cli._find import find_episode
    from fabrika.sim import Playback, require_simulated
    from fabrika.view import Story

    store, row = find_episode(text, role, folder)
    if not row.digest:
        why = f"its rollout is void: {row.void}" if row.void else "it was not kept"
        raise UsageError(f"scenario {row.index} of {store} has no episode to view: {why}.")
    with Store.open(store) as opened:
        episode = opened.episode(row)
    task = find_task(row.task)
    with closing(require_simulated(task.build())) as world:
        film = Playback(world, episode)
    return film, Story(episode=episode, checks=task.checks)


def open_browser(address: str) -> bool:
    """Open the address where there is a desktop; elsewhere a browser would take the terminal."""
    desktop = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return desktop and webbrowser.open(address)
