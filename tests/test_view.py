"""Laws of the viewer: it shows what was recorded, in any order; a real browser draws it."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import test_sim_scene as room
from browser import CHROMIUM, Browser, wait
from fabrika import ContractError, Episode, Scripted, UsageError, dump_episode, judge, rollout
from fabrika.lines.home.carry_tray import TASK as TRAY
from fabrika.lines.home.mug_to_shelf import TASK as MUG
from fabrika.lines.toy import TASK as TOY
from fabrika.sim import Playback, SimWorld
from fabrika.sim._playback import _solid
from fabrika.view import Clock, Page, Story, Watched
from fabrika.view._scene import mesh_of

TASKS = {task.name: task for task in (MUG, TRAY)}


class Telling:
    """The expert, and what it is at: a stand-in for an expert that says so itself."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._count = actor, 0
        self.name, self.reads, self.doing = actor.name, actor.reads, ""

    @property
    def remark(self) -> str:
        return str(self._actor.remark)

    def reset(self, instruction: str, seed: int) -> None:
        self._count, self.doing = 0, ""
        self._actor.reset(instruction, seed)

    def act(self, observation: Any) -> Any:
        self._count += 1
        self.doing = "reach <for> the mug" if self._count <= 60 else "bring it to the shelf"
        return self._actor.act(observation)


@pytest.fixture(scope="module")
def episodes() -> dict[str, tuple[Episode, tuple[str, ...]]]:
    found = {}
    for name, task in TASKS.items():
        with closing(task.build()) as world:
            actor = Watched(Telling(task.expert()))
            episode = rollout(actor, world, task.scenario("train", 0), task.horizon)
        found[name] = episode.with_verdict(judge(episode, task.checks)), tuple(actor.doings)
    return found


@pytest.fixture(scope="module")
def films(episodes: Any) -> dict[str, Playback]:
    return {name: Playback(task.build(), episodes[name][0]) for name, task in TASKS.items()}


def some(count: int) -> np.ndarray:
    """Observations in an order of no use to anyone."""
    return np.random.default_rng(0).permutation(count)[:12]


# -- frames --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_what_is_shown_is_what_a_restored_world_has(name: str, episodes: Any, films: Any) -> None:
    episode, film = episodes[name][0], films[name]
    world = TASKS[name].build()
    assert isinstance(world, SimWorld)
    for frame in some(len(episode.times)):
        world.restore(episode.scenario, episode.states[frame])
        data = world._data
        places, turns = film.poses(frame)
        assert np.array_equal(places, data.xpos) and np.array_equal(turns, data.xquat)
        points, forces = film.contacts(frame)
        mujoco.mj_forward(world._model, data)
        assert np.array_equal(points, data.contact.pos)
        normal = np.abs(np.einsum("ci,ci->c", forces, data.contact.frame[:, :3]))
        held = data.contact.efc_address >= 0
        assert np.allclose(normal[held], data.efc_force[data.contact.efc_address[held]])


@pytest.mark.parametrize("name", TASKS)
def test_the_order_of_asking_changes_nothing(name: str, episodes: Any, films: Any) -> None:
    task, (episode, _) = TASKS[name], episodes[name]
    other, story = Playback(task.build(), episode), Story(episode=episode, checks=task.checks)
    later = Story(episode=episode, checks=task.checks)
    frames = some(len(episode.times))
    scattered = {f: (films[name].poses(f), films[name].contacts(f), story.goals(f)) for f in frames}
    for frame in sorted(frames):
        poses, contacts, goals = scattered[frame]
        for asked, again in ((poses, other.poses(frame)), (contacts, other.contacts(frame))):
            assert all(np.array_equal(a, b) for a, b in zip(asked, again, strict=True))
        assert goals == later.goals(frame)


def test_what_sleeps_is_shown_awake() -> None:
    scenario, world = room.scenario(0), room.world()
    world.reset(scenario)
    home = {name: np.array(group.home) for name, group in world.robot.groups.items()}
    still = Scripted("still", (), lambda _, __: (home for _ in range(40)))  # type: ignore[arg-type, return-value]
    episode = rollout(still, world, scenario, 1.2)
    film = Playback(world, episode)
    last = len(episode.times) - 1
    points, _ = film.contacts(last)
    assert len(points) > 50, "some thirty things lie about"
    film.contacts(0)
    assert np.array_equal(film.contacts(last)[0], points)
    world.restore(scenario, episode.states[last])
    assert (world._data.tree_asleep >= 0).any()
    assert np.array_equal(film.poses(last)[0], world._data.xpos)


def test_what_bears_a_thing_bears_its_weight(episodes: Any, films: Any) -> None:
    """At the end the mug stands on the shelf, and what touches it pushes it up."""
    episode, film = episodes[MUG.name][0], films[MUG.name]
    last = len(episode.times) - 1
    points, forces = film.contacts(last)
    mug = episode.observations["truth/mug"][last, :3]
    near = np.linalg.norm(points - mug, axis=1) < 0.06
    weight = episode.scenario.params["things"]["mug"]["mass"] * 9.81
    assert forces[near].sum(axis=0)[2] == pytest.approx(weight, rel=0.1)


SHAPES = """<mujoco><asset><mesh name="m" vertex="0 0 0 1 0 0 0 1 0 0 0 1"/>
<texture name="t" type="2d" builtin="flat" width="4" height="4" rgb1="1 .5 0"/>
<material name="p" texture="t"/></asset><worldbody><body pos="0 0 3" euler="20 30 40">
<geom type="sphere" size=".3" pos="1 0 0"/><geom type="capsule" size=".1 .4" euler="0 60 0"/>
<geom type="ellipsoid" size=".1 .2 .3" pos="0 1 0" euler="10 20 30"/>
<geom type="cylinder" size=".2 .3" pos="0 0 1" rgba="0 0 1 .5"/>
<geom type="box" size=".1 .2 .3" euler="0 0 45" contype="0" conaffinity="0" material="p"/>
<geom type="mesh" mesh="m" group="3"/></body><geom type="plane" size="0 0 1"/>
</worldbody></mujoco>"""


def test_a_surface_is_as_large_and_where_the_engine_has_it() -> None:
    model = mujoco.MjModel.from_xml_string(SHAPES)
    solids = [_solid(model, index) for index in range(model.ngeom)]
    assert {solid.kind for solid in solids} == {
        *("sphere", "capsule", "ellipsoid", "cylinder", "box", "mesh", "plane")
    }
    for index, solid in enumerate(solids):
        mesh = mesh_of(solid)
        if solid.kind == "plane":
            assert np.ptp(mesh.vertices[:, 0]) > 0 and not solid.vertices.size
            assert (mesh.face_normals[:, 2] > 0.99).all()
            continue
        assert mesh.is_watertight and mesh.volume > 0, "its faces look outwards"
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, solid.wxyz)
        seen = (mesh.vertices - solid.position) @ turn.reshape(3, 3)
        middle, half = np.split(model.geom_aabb[index], 2)
        assert np.allclose(seen.max(axis=0), middle + half, rtol=0.03, atol=0.003)
        assert np.allclose(seen.min(axis=0), middle - half, rtol=0.03, atol=0.003)
    assert [s.seen for s in solids if s.kind == "mesh"] == [False]
    assert [s.kind for s in solids if not s.collides] == ["box"]
    colour = next(s.rgba for s in solids if s.kind == "box")
    assert np.allclose(colour, (1, 0.5, 0, 1), atol=0.01)


def test_a_shape_that_cannot_be_shown_is_named() -> None:
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><asset><hfield name="h" nrow="2" ncol="2" size="1 1 1 1"/></asset><worldbody>'
        '<geom name="hill" type="hfield" hfield="h"/></worldbody></mujoco>'
    )
    with pytest.raises(ContractError, match=r"'hill'.*capsule"):
        _solid(model, 0)


def test_a_world_without_a_scene_is_refused(episodes: Any) -> None:
    with pytest.raises(UsageError, match="no world of MuJoCo's"):
        Playback(TOY.build(), episodes[MUG.name][0])


# -- what is told --------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_at_the_end_the_goals_are_those_of_the_verdict(name: str, episodes: Any) -> None:
    episode = episodes[name][0]
    story = Story(episode=episode, checks=TASKS[name].checks)
    wanted = tuple(f for f in episode.verdict.findings if f.kind == "goal")
    assert story.goals(len(episode.times) - 1) == wanted
    assert not all(goal.ok for goal in story.goals(0)), "nothing is done before it began"


def test_watching_changes_nothing(episodes: Any) -> None:
    episode = episodes[MUG.name][0]
    with closing(MUG.build()) as world:
        alone = rollout(MUG.expert(), world, episode.scenario, MUG.horizon)
    assert dump_episode(alone.with_verdict(episode.verdict)) == dump_episode(episode)


def test_each_action_has_what_the_actor_was_at(episodes: Any) -> None:
    episode, doings = episodes[MUG.name]
    assert len(doings) == episode.length
    story = Story(episode=episode, checks=MUG.checks, doings=doings)
    assert story.doing(0) == doings[0] and story.doing(episode.length) == doings[-1]
    assert Story(episode=episode, checks=MUG.checks).doing(3) == ""


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["toggle", "seek", "speed", "wait"]), st.floats(0, 5), st.floats(0.01, 3)
    ),
    max_size=12,
)


@given(count=st.integers(2, 60), steps=STEPS)
def test_a_clock_never_leaves_the_episode_and_runs_forward(count: int, steps: Any) -> None:
    times = np.arange(count) * 0.04
    clock, now = Clock(times), 100.0
    for what, value, gone in steps:
        before = clock.frame(now)
        if what == "toggle":
            over = before == count - 1
            clock.toggle(now)
            assert clock.frame(now) == (0 if over else before)
        elif what == "seek":
            clock.seek(value)
            assert not clock.playing
            nearest = np.abs(times - value).min()
            assert abs(times[clock.frame(now)] - value) == pytest.approx(nearest)
        elif what == "speed":
            clock.set_speed(value, now)
            assert clock.frame(now) == before
        before, played = clock.frame(now), clock.playing
        now += gone
        after = clock.frame(now)
        assert 0 <= before <= after < count
        assert played or after == before


def test_a_clock_keeps_time() -> None:
    clock = Clock(np.arange(101) * 0.04)
    clock.toggle(7.0)
    assert clock.frame(8.0) == 25
    clock.set_speed(2.0, 8.0)
    assert clock.frame(9.0) == 75 and clock.playing
    assert clock.frame(11.0) == 100 and not clock.playing


# -- a browser -----------------------------------------------------------------------------


@pytest.mark.skipif(not CHROMIUM, reason="no browser: apt-get install chromium")
def test_a_browser_plays_pauses_and_scrubs(episodes: Any, films: Any, tmp_path: Path) -> None:
    episode, doings = episodes[MUG.name]
    story = Story(episode=episode, checks=MUG.checks, doings=doings)
    page, done = Page(films[MUG.name], story), threading.Event()
    playing = threading.Thread(target=page.run, args=(done.is_set,))
    playing.start()
    try:
        with Browser(tmp_path / "profile", 800, 500) as browser:
            browser.open(page.ticket)
            look(browser, episode)
            assert browser.run("location.pathname") == "/" + page.url.split("/", 3)[3]
    finally:
        done.set()
        playing.join()
        page.close()


SLIDER = "[role=slider]"
"""Moved by keys: of clicks on its track, a browser that draws without a GPU loses some."""


def moment(browser: Browser) -> float:
    """The time that the page tells [s]."""
    return float(browser.text("[data-time]").split(" s")[0] or "nan")


def look(browser: Browser, episode: Episode) -> None:
    wait(lambda: moment(browser) > 0.0)  # it plays by itself
    # To its end, where a machine is slow to show it: then it is asked to play again.
    wait(lambda: browser.click("Pause") or (browser.click("Play") and None))
    browser.tick("shadows")  # which take a processor long
    wait(lambda: "Play" in browser.text().split("\n"))
    still = moment(browser)
    time.sleep(0.5)
    assert moment(browser) == still
    assert browser.text("[data-verdict]") == "✓ passed"
    assert episode.scenario.instruction in browser.text()
    told = {row.split("\t")[0][2:] for row in browser.text("[data-goals]").split("\n")}
    assert told == {"placed", "upright", "released", "at-rest"}
    assert "contacts" in browser.text("[data-contacts]")

    # The slider: another time, another skill, goals that hold.
    end = episode.times[-1]
    browser.press(SLIDER, "End")
    wait(lambda: moment(browser) == pytest.approx(end, abs=episode.dt))
    assert browser.text("[data-skill]") == "bring it to the shelf"
    assert "✓ placed" in browser.text("[data-goals]")
    browser.press(SLIDER, "Home")
    wait(lambda: moment(browser) == 0.0)
    assert browser.text("[data-skill]") == "reach <for> the mug"
    assert "○ placed" in browser.text("[data-goals]")

    # viser fades the picture in. It is drawn: in many colours, and otherwise with other shapes.
    opacity = "getComputedStyle(document.querySelector('canvas')).opacity"
    wait(lambda: float(browser.run(opacity)) > 0.99)
    before = scene(browser)
    assert len(np.unique(before.reshape(-1, 3) // 16, axis=0)) > 20 and before.std() > 20
    browser.tick("collision shapes")
    wait(lambda: (scene(browser) != before).mean() > 0.05)

    assert browser.click("Play")
    wait(lambda: moment(browser) > 0.25 * end)


def scene(browser: Browser) -> np.ndarray:
    """The part of the window that the controls leave free."""
    controls = browser.run("document.querySelector('[data-time]').getBoundingClientRect().x")
    return browser.picture()[:, : int(controls) - 20]
