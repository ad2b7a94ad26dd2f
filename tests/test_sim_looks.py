"""Laws of looks and layers: other pictures, the same world; every pixel's depth and body."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fabrika import Episode, Result, Scenario, Task, UsageError, judge, rollout
from fabrika._run import run_scenarios
from fabrika._signals import Array
from fabrika._store import Store
from fabrika.data import export_lerobot, verify_lerobot
from fabrika.lines.home.carry_tray import TASK as TRAY
from fabrika.lines.home.mug_to_shelf import TASK as MUG
from fabrika.sim import CLOID_CLASS, SimWorld, scene
from test_sim_scene import scenario as room

SIZE = (48, 64)
TASKS = pytest.mark.parametrize("task", [MUG, TRAY], ids=lambda task: task.name)
BARE = re.compile("floor$|wall")


@cache
def shot(task: Task) -> tuple[SimWorld, Episode]:
    """A world, and an episode of two seconds in it."""
    world = task.build()
    assert isinstance(world, SimWorld)
    return world, rollout(task.expert(), world, task.scenario("train", 0), 2.0)


@cache
def furnished_world(seed: int) -> SimWorld:
    """A room of fixtures with many things on them."""
    free = tuple(sorted(room(seed).params["things"]))
    return SimWorld(CLOID_CLASS, scene, tracked=(), free=free, seconds=9, sleep=True)


@TASKS
def test_looks_are_other_pictures_of_the_same_state(task: Task) -> None:
    world, episode = shot(task)
    for camera in world.cameras:
        seen = []
        for look in range(4):
            world.dress(episode.scenario, look)
            seen.append(world.picture(episode.states[-1], camera, *SIZE).tobytes())
        assert len(set(seen)) == 4, camera


@TASKS
def test_a_look_shifts_cameras_a_little_and_leaves_the_rest_of_the_model(task: Task) -> None:
    world, episode = shot(task)
    places = []
    for look in range(3):
        world.dress(episode.scenario, look)
        model = world.pictures._model
        kept = (model.geom_pos, model.geom_size, model.body_pos, model.geom_contype)
        places.append((model.cam_pos.copy(), model.cam_quat.copy(), [v.copy() for v in kept]))
    (at, turned, rest), *others = places
    for there, other, same in others:
        own = [i for i in range(len(at)) if world.pictures._model.camera(i).name != "scene"]
        assert 0 < np.abs(there - at)[own].max() < 0.013
        assert 0 < np.abs(other - turned)[own].max() < 0.02
        assert all(np.array_equal(a, b) for a, b in zip(rest, same, strict=True))


def covered(world: SimWorld, scenario: Scenario, states: list[Array]) -> int:
    """Pixels that decoration changes: each shows a wall, the floor or nothing without it."""
    pictures, changed = world.pictures, 0
    for look in range(1, 6):
        world.dress(scenario, look)
        bare = [colour for name, colour in pictures.bodies().items() if BARE.match(name)]
        for camera in ("head", "scene"):
            for state in states:
                with_it = pictures.picture(state, camera, 96, 128)
                decor, pictures._decor = pictures._decor, []
                without = pictures.picture(state, camera, 96, 128)
                bodies = pictures.segmentation(state, camera, 96, 128)
                pictures._decor = decor
                other = (with_it != without).any(axis=2)
                allowed = [(0, 0, 0), *bare]
                free = (bodies[:, :, None, :] == np.array(allowed)).all(axis=3).any(axis=2)
                assert not (other & ~free).any(), (look, camera)
                changed += int(other.sum())
    return changed


@TASKS
def test_decoration_never_hides_the_robot_or_a_thing(task: Task) -> None:
    world, episode = shot(task)
    states = [episode.states[0], episode.states[-1]]
    assert covered(world, episode.scenario, states) > 100


@pytest.mark.parametrize("seed", range(2))
def test_decoration_hides_nothing_in_a_furnished_room(seed: int) -> None:
    found = room(seed)
    world = furnished_world(seed)
    world.reset(found)
    assert covered(world, found, [world.state()]) > 100


@TASKS
def test_the_scenarios_own_look_has_no_decoration(task: Task) -> None:
    world, episode = shot(task)
    world.dress(episode.scenario, 0)
    assert world.pictures._decor == []


@TASKS
def test_segmentation_is_of_named_bodies_and_looks_do_not_matter_to_colours(task: Task) -> None:
    world, episode = shot(task)
    legends = []
    for look in range(2):
        world.dress(episode.scenario, look)
        legends.append(world.pictures.bodies())
        known = set(legends[-1].values()) | {(0, 0, 0)}
        for camera in world.cameras:
            colours = world.pictures.segmentation(episode.states[0], camera, *SIZE)
            assert set(map(tuple, colours.reshape(-1, 3).tolist())) <= known
    assert legends[0] == legends[1] and len(set(legends[0].values())) == len(legends[0])
    assert {*episode.scenario.params["things"], "floor"} <= legends[0].keys()


def test_equal_names_have_equal_colours_in_every_task() -> None:
    found = []
    for task in (MUG, TRAY):
        world, episode = shot(task)
        world.dress(episode.scenario)
        found.append(world.pictures.bodies())
    shared = found[0].keys() & found[1].keys()
    assert {"floor", "wall_x"} < shared and all(found[0][name] == found[1][name] for name in shared)


def test_a_body_is_as_far_as_it_stands() -> None:
    """The median depth of the mug's pixels is the distance of the mug along the camera's axis."""
    world, episode = shot(MUG)
    world.dress(episode.scenario)
    pictures, state = world.pictures, episode.states[0]
    mug = (pictures.segmentation(state, "head", 192, 256) == pictures.bodies()["mug"]).all(axis=2)
    depth = pictures.depth(state, "head", 192, 256)[:, :, 0]
    data, model = pictures._data, pictures._model
    camera, body = model.camera("head").id, model.body("mug").id
    axis = -data.cam_xmat[camera].reshape(3, 3)[:, 2]
    away = float((data.xpos[body] - data.cam_xpos[camera]) @ axis)
    assert mug.sum() > 50
    assert abs(float(np.median(depth[mug])) / 1000 - away) < 0.1


# In datasets


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the short episode."""
    folder = tmp_path_factory.mktemp("run") / "train"
    _, episode = shot(MUG)
    judged = episode.with_verdict(judge(episode, MUG.checks))
    with Store.create(folder, {"task": MUG.name}) as opened:
        opened.commit(replace(Result.judged(judged), digest=opened.seal(judged)))
    return folder


def export(store: Path, out: Path, workers: int = 1) -> Path:
    export_lerobot(
        store,
        out,
        cameras=("head",),
        size=SIZE,
        looks=2,
        depth=True,
        segmentation=True,
        workers=workers,
        include_failed=True,
    )
    return out


@pytest.fixture(scope="module")
def dataset(store: Path) -> Path:
    return export(store, store.parent / "out")


def png(cell: dict[str, bytes]) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(cell["bytes"])))


def test_stills_come_back_to_the_last_bit(dataset: Path) -> None:
    table = pq.read_table(dataset / "data")
    world, episode = shot(MUG)
    for look in range(2):
        world.dress(episode.scenario, look)
        for tick in (0, 20, episode.length - 1):
            row, state = look * episode.length + tick, episode.states[tick]
            depth = png(table.column("observation.depth.head")[row].as_py())
            bodies = png(table.column("observation.segmentation.head")[row].as_py())
            assert np.array_equal(depth, world.pictures.depth(state, "head", *SIZE)[:, :, 0])
            assert np.array_equal(bodies, world.pictures.segmentation(state, "head", *SIZE))
    legend = json.loads((dataset / "meta/segmentation.json").read_text())["bodies"]
    assert {name: tuple(colour) for name, colour in legend.items()} == world.pictures.bodies()


def test_labels_are_the_same_under_every_look(dataset: Path) -> None:
    """Every column but the pictures, and what counts rows and episodes."""
    table = pq.read_table(dataset / "data")
    length = len(table) // 2
    counts = {"index", "episode_index"}
    pictured = {"observation.depth.head", "observation.segmentation.head"}
    for name in table.column_names:
        one, other = table.column(name).slice(0, length), table.column(name).slice(length)
        if name not in counts | pictured:
            assert one.to_pylist() == other.to_pylist(), name
    rows = pq.read_table(dataset / "meta/episodes").to_pylist()
    told = {name for name in rows[0] if name.split("/")[0] not in ("stats", "pixels", "videos")}
    moved = {name for name in told if rows[0][name] != rows[1][name]}
    assert moved == {"episode_index", "look", "dataset_from_index", "dataset_to_index"}
    assert rows[0]["pixels/observation.images.head"] != rows[1]["pixels/observation.images.head"]


def test_statistics_of_depth_are_those_of_all_pixels(dataset: Path) -> None:
    told = json.loads((dataset / "meta/stats.json").read_text())["observation.depth.head"]
    cells = pq.read_table(dataset / "data").column("observation.depth.head").to_pylist()
    pixels = np.stack([png(cell) for cell in cells]).astype(float)
    for name, part in {"q01": 0.01, "q50": 0.5, "q99": 0.99}.items():
        assert told[name] == [[[np.quantile(pixels, part)]]]
    assert told["max"] == [[[pixels.max()]]] and told["count"] == [len(cells)]
    assert np.isclose(told["mean"][0][0][0], pixels.mean())


def test_layers_have_the_same_bytes_with_any_number_of_workers(
    store: Path, dataset: Path, tmp_path: Path
) -> None:
    again = export(store, tmp_path / "again", workers=2)
    for path in [path for path in dataset.rglob("*") if path.is_file()]:
        assert path.read_bytes() == (again / path.relative_to(dataset)).read_bytes(), path.name


def test_layers_verify_without_an_error(dataset: Path) -> None:
    report = verify_lerobot(dataset)
    assert report.ok, report.findings
    assert {finding.code for finding in report.findings} <= {"action-constant", "fingers-still"}


def test_layers_are_refused_where_no_camera_sees_them(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one"):
        export_lerobot(store, tmp_path / "out", depth=True, include_failed=True)
    run_scenarios("toy/reach-v1", "expert", "train", range(1), store=tmp_path / "toy")
    with pytest.raises(UsageError, match="see no segmentation"):
        export_lerobot(tmp_path / "toy", tmp_path / "out", cameras=("head",), segmentation=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy"]
