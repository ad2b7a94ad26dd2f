"""The page: the scene, the controls, and what is told of the observation that is shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from threading import Event
from typing import Any

from fabrika._episode import Finding, Verdict
from fabrika.view._clock import Clock
from fabrika.view._door import close_server, open_server
from fabrika.view._scene import Film, Scene
from fabrika.view._story import Story

_SPEEDS = ("0.25", "0.5", "1", "2", "4")
_MOST_MARKS = 40
"""The slider shows where something new is begun, up to so many times."""
_TICK = 1 / 30
"""How often the page is looked after while it plays [s]."""


class Page:
    """One episode as a page on this machine, until `close`.

    ``host`` is loopback; ``port`` 0 takes a free one. It begins to play when it is first opened.
    Raises `UsageError` for another host, or a port that is taken.
    """

    def __init__(self, film: Film, story: Story, *, host: str = "127.0.0.1", port: int = 0) -> None:
        task = story.episode.scenario.task
        self._server, self._door, self._place = open_server(host, port, task)
        self._film, self._story = film, story
        self._clock = Clock(film.times)
        self._changed = Event()
        self._shown = -1
        self._server.gui.configure_theme(
            show_logo=False, show_share_button=False, brand_color=(40, 110, 200)
        )
        self._scene = Scene(self._server, film)
        self._build()
        self._opened = False
        self._server.on_client_connect(self._greet)
        self._show(0)

    @property
    def url(self) -> str:
        """The address, with the token: whoever knows it and is on this machine can look."""
        return f"{self._place}/{self._door.token}/"

    @property
    def ticket(self) -> str:
        """An address that leads to `url` once, to be handed to a browser."""
        return self._place + self._door.ticket()

    def run(self, until: Callable[[], bool]) -> None:
        """Play for whoever looks, until ``until`` says so."""
        while not until():
            playing = self._clock.playing
            self._changed.wait(_TICK if playing else 0.2)
            self._changed.clear()
            self._show(self._clock.frame(time.monotonic()))

    def close(self) -> None:
        """Stop serving."""
        close_server(self._server)

    # -- controls ------------------------------------------------------------------------

    def _build(self) -> None:
        gui, episode = self._server.gui, self._story.episode
        gui.add_html(_head(self._story))
        self._play = gui.add_button("Play")
        times = self._film.times
        self._slider = gui.add_slider(
            "time [s]",
            min=float(times[0]),
            max=float(times[-1]),
            step=float(episode.dt),
            initial_value=float(times[0]),
            marks=self._marks(),
        )
        self._speed = gui.add_dropdown("speed", _SPEEDS, initial_value="1")
        self._now = gui.add_html("")
        self._contacts = gui.add_checkbox("contacts", True)
        self._collision = gui.add_checkbox("collision shapes", False)
        self._shadows = gui.add_checkbox("shadows", True, hint="Off, a slow machine draws faster.")
        if episode.verdict:
            with gui.add_folder("All checks", expand_by_default=False):
                gui.add_html(_findings(episode.verdict))
        self._play.on_click(lambda _: self._do(lambda: self._clock.toggle(time.monotonic())))
        self._slider.on_update(self._scrub)
        self._speed.on_update(
            lambda _: self._do(
                lambda: self._clock.set_speed(float(self._speed.value), time.monotonic())
            )
        )
        self._contacts.on_update(lambda _: self._do(self._again))
        self._collision.on_update(
            lambda _: self._do(lambda: self._scene.show_collision(self._collision.value))
        )

        self._shadows.on_update(
            lambda _: setattr(self._scene.lamp, "cast_shadow", self._shadows.value)
        )

    def _marks(self) -> tuple[float, ...] | None:
        """When something new was begun [s]."""
        doings = self._story.doings
        new = [i for i in range(1, len(doings)) if doings[i] != doings[i - 1]]
        return tuple(float(self._film.times[i]) for i in new[:_MOST_MARKS]) or None

    def _do(self, change: Callable[[], None]) -> None:
        change()
        self._changed.set()

    def _scrub(self, event: Any) -> None:
        if event.client is not None:  # else it is the page itself that moves on
            self._do(lambda: self._clock.seek(self._slider.value))

    def _again(self) -> None:
        self._shown = -1

    def _greet(self, _: Any) -> None:
        """Begin to play when somebody looks for the first time."""
        if not self._opened:
            self._opened = True
            self._do(lambda: self._clock.toggle(time.monotonic()))

    # -- the observation that is shown ---------------------------------------------------

    def _show(self, frame: int) -> None:
        self._play.label = "Pause" if self._clock.playing else "Play"
        if frame == self._shown:
            return
        self._shown = frame
        count, force = self._scene.show(frame, self._contacts.value)
        touching = ""
        if self._contacts.value:
            touching = f"{count} contacts" + (f", up to {force:.1f} N" if count else "")
        now = float(self._film.times[frame])
        if self._clock.playing or abs(self._slider.value - now) > self._story.episode.dt / 2:
            self._slider.value = now  # type: ignore[misc]  # its setter stands apart
        self._now.content = _moment(self._story, frame, touching)


def _head(story: Story) -> str:
    """What was asked, of whom, and how it ended."""
    episode, scenario = story.episode, story.episode.scenario
    verdict = episode.verdict
    ending = "" if verdict is None else "passed" if verdict.passed else f"failed: {verdict.reason}"
    sign = "" if verdict is None else "✓ " if verdict.passed else "✗ "
    colour = "#2b8a3e" if verdict and verdict.passed else "#c92a2a"
    return (
        '<div style="padding:0.3em 0.9em 0 0.9em;font-size:0.9em">'
        f'<div style="font-size:1.15em;font-weight:600">{escape(scenario.instruction)}</div>'
        f'<div style="opacity:0.65">{escape(scenario.split)} {scenario.index} · '
        f"{escape(episode.actor)}</div>"
        f'<div data-verdict style="color:{colour};font-weight:600">{sign}{escape(ending)}</div>'
        f"<div>{escape(episode.fault)}</div></div>"
    )


def _moment(story: Story, frame: int, touching: str) -> str:
    """Time, skill, goals and contacts of one observation."""
    times = story.episode.times
    doing = story.doing(frame)
    skill = f"<b>{escape(doing)}</b>" if doing else f"{escape(story.episode.actor)} acts"
    rows = "".join(_row(goal) for goal in story.goals(frame))
    return (
        '<div style="padding:0.2em 0.9em;font-size:0.9em;line-height:1.5">'
        f"<div data-time>{times[frame]:.2f} s of {times[-1]:.2f} s</div>"
        f"<div data-skill>{skill}</div>"
        '<div style="margin-top:0.5em;opacity:0.65">goals</div>'
        f'<table data-goals style="width:100%">{rows}</table>'
        f'<div data-contacts style="margin-top:0.3em;opacity:0.65">{touching}</div></div>'
    )


def _row(found: Finding) -> str:
    """One measurement and its limits; a sign says whether it is within them."""
    limits = [("at least", found.at_least), ("at most", found.at_most)]
    asked = ", ".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)
    sign, weight = ("✓", 600) if found.ok else ("○", 400)
    return (
        f'<tr style="font-weight:{weight}"><td>{sign} {escape(found.check)}</td>'
        f'<td style="text-align:right">{found.value:.3g} {escape(found.unit)}</td>'
        f'<td style="text-align:right;opacity:0.65">{asked}</td></tr>'
    )


def _findings(verdict: Verdict) -> str:
    rows = "".join(_row(found) for found in verdict.findings)
    return f'<table style="width:100%;padding:0.2em 0.9em;font-size:0.8em">{rows}</table>'
