"""Laws of wiping: what a pad was pressed on is wiped, and strokes reach all of the patch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabrika import UsageError
from fabrika.lines.home._goals import moment, wiped
from fabrika.lines.home._page import read_page
from fabrika.lines.home.pages import OWN
from fabrika.sim import draw_fixture, places
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._wipe import CELL, PATCH, PRESS, _rows, cells, pressed

PAGE = (OWN / "wipe-table.yaml").read_text()
PAD = {"kind": "pad", "depth": 0.085, "width": 0.12, "height": 0.04}
HALF = st.tuples(st.floats(0.03, 0.07), st.floats(0.03, 0.07))


def swept(half: tuple[float, float], high: float = 0.0, lean: float = 0.0) -> Any:
    """Cells that a pad was pressed on along its strokes."""
    rows = np.array(_rows(half))
    path = np.concatenate([np.linspace(a, b, 40) for a, b in pairwise(rows)])
    at = np.pad(path, ((0, 0), (0, 1)), constant_values=high)
    turn = np.tile(turn_by(np.array([0.0, lean, 0.0])), (len(at), 1, 1))
    params = {"depth": 2 * half[0], "width": 2 * half[1]}
    return pressed(params, at, turn, np.full(len(at), 2 * PRESS)).any(axis=0)


@given(HALF)
def test_strokes_wipe_all_of_the_patch_and_a_lifted_pad_none(half: tuple[float, float]) -> None:
    assert swept(half).all()
    assert not swept(half, high=0.01).any()
    assert not swept(half, lean=0.3).any()


def test_cells_share_the_patch() -> None:
    found = cells()
    assert len(found) * CELL**2 == pytest.approx(4 * PATCH[0] * PATCH[1])
    assert (np.abs(found) <= np.array(PATCH) - CELL / 2 + 1e-9).all()


@given(st.floats(-0.1, 0.1), st.floats(-0.15, 0.15), st.floats(-3.0, 3.0))
def test_only_what_is_under_the_pad_is_wiped(x: float, y: float, yaw: float) -> None:
    turn = yaw_rotation(yaw)
    found = pressed(PAD, np.array([[x, y, 0.0]]), turn[None], np.array([2 * PRESS]))[0]
    away = (cells() - np.array([x, y])) @ turn[:2, :2]
    half = np.array([PAD["depth"], PAD["width"]]) / 2
    np.testing.assert_array_equal(found, (np.abs(away) < half).all(axis=1))


def test_the_goal_remembers_what_was_wiped_and_asks_for_its_share() -> None:
    table: Any = {**draw_fixture(np.random.default_rng(1), "table"), "pos": [0.3, -1.2], "yaw": 1.1}
    place = places({"table": table})["table.top"]
    half = (PAD["depth"] / 2, PAD["width"] / 2)
    rows = np.array(_rows(half))
    path = np.concatenate([np.linspace(a, b, 30) for a, b in pairwise(rows)])
    bodies, force = [], []
    for x, y in path:
        spin = table["yaw"] / 2
        bodies.append([*place.at(x, y), np.cos(spin), 0.0, 0.0, np.sin(spin), *np.zeros(6)])
        force.append([[2 * PRESS, 3.0]])
    scene = {"fixtures": {"table": table}, "things": {"pad": PAD}}
    episode = moment({}, scene)
    episode.times = np.arange(len(path))
    episode.observations["truth/pad"] = np.array(bodies)
    episode.observations["truth/support"] = np.array(force)
    done = wiped("pad", "table.top")(episode)
    assert done[-1] and not done[0] and (np.diff(done.astype(int)) >= 0).all()
    episode.observations["truth/support"] = np.zeros((len(path), 1, 2))
    assert not wiped("pad", "table.top")(episode).any()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("wiped(cloth, table.top)", "wiped(cloth, table.tip)", "did you mean 'table.top'"),
        ("wiped(cloth, table.top)", "wiped(cloth, table.top, 2)", "from 0 to 1, not 2"),
        ("wiped(cloth, table.top)", "wiped(cloth, microwave.plate)", "is too small"),
        ("from: [cloth_dish, cloth_floor]\n    held-out: cloth_micro", "from: can", "shape pad"),
    ],
)
def test_nonsense_about_wiping_is_refused_with_its_line(old: str, new: str, words: str) -> None:
    text = PAGE.replace("left: [washer]", "left: [microwave]")
    assert old in text
    with pytest.raises(UsageError, match=rf"page\.yaml:\d+:\d+: .*{words}"):
        read_page(text.replace(old, new), "page.yaml")
