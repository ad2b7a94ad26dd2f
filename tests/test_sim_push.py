"""Laws of pushing: the hand is against the thing, not in it; what is at its goal is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabrika import UsageError
from fabrika.lines.home._goals import AT, at, moment
from fabrika.lines.home._page import read_page
from fabrika.lines.home.pages import OWN
from fabrika.sim import CLOID_CLASS, draw_fixture, places
from fabrika.sim._push import NEAR, WIDE, deep, palms_at

PAGE = (OWN / "push-box.yaml").read_text()
BOX = {"kind": "crate", "depth": 0.22, "width": 0.30, "height": 0.12}
SIZES = st.floats(0.05, 0.4)
ANGLES = st.floats(-3.1, 3.1)
UP = np.array([0.0, 0.0, 1.0])


@given(SIZES, SIZES, ANGLES)
def test_a_flat_hand_touches_a_box_and_is_not_in_it(depth: float, width: float, way: float) -> None:
    far = deep({"kind": "crate", "depth": depth, "width": width}, way, WIDE)
    ahead = np.array([np.cos(way), np.sin(way)])
    across = np.array([-ahead[1], ahead[0]])
    half = np.array([depth, width]) / 2

    def inside(at: float) -> bool:
        points = at * ahead + np.linspace(-WIDE, WIDE, 81)[:, None] * across
        return bool((np.abs(points) < half).all(axis=1).any())

    assert inside(far - 0.006) and not inside(far + 0.006)


@given(ANGLES, st.floats(-1.2, 1.2))
def test_the_face_of_a_palm_lies_where_it_pushes_and_looks_that_way(
    angle: float, slope: float
) -> None:
    level = np.array([np.cos(angle), np.sin(angle), 0.0])
    way, point = np.cos(slope) * level - np.sin(slope) * UP, np.array([0.4, 0.1, 0.8])
    for hand in CLOID_CLASS.hands.values():
        found = list(palms_at(hand, hand.faces, way, point))
        assert len(found) >= 16
        for palm, _ in found:
            np.testing.assert_allclose(palm.turn @ palm.turn.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(palm.turn) == pytest.approx(1.0)
            ahead = [
                palm.turn @ np.array(out) @ way
                for middle, out in hand.faces
                if np.allclose(palm.point(*middle), point)
            ]
            assert max(ahead) == pytest.approx(1.0)


@given(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2), st.sampled_from((0.0, 0.1)))
def test_a_thing_is_at_a_spot_when_its_middle_is(x: float, y: float, up: float) -> None:
    rng = np.random.default_rng(0)
    table: Any = {**draw_fixture(rng, "table"), "pos": [0.3, -1.2], "yaw": 1.1}
    middle = places({"table": table})["table.top"].at(x, y)
    body = np.array([middle[0], middle[1], middle[2] + up, 1.0, *np.zeros(9)])
    now = moment({"truth/box": body}, {"fixtures": {"table": table}, "things": {"box": BOX}})
    assert bool(at("box", "table.top")(now)[0]) == (np.hypot(x, y) < AT and not up)


def test_the_skill_ends_well_within_what_the_goal_allows() -> None:
    assert NEAR + 0.01 < AT


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("at(box, table.top)", "at(box, counter.top)", "'box' starts on table.top"),
        ("at(box, table.top)", "at(box, table)", "there is no spot 'table'"),
        ("goal:\n", "goal:\n  - on(box, counter.top)\n", "impossible"),
    ],
)
def test_nonsense_about_pushing_is_refused_with_its_line(old: str, new: str, words: str) -> None:
    assert old in PAGE
    with pytest.raises(UsageError, match=rf"page\.yaml:\d+:\d+: .*{words}"):
        read_page(PAGE.replace(old, new), "page.yaml")
