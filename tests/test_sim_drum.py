"""Laws of the way out of a drum: not before the fingers are open, and beside what was let go of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fabrika._signals import Array
from fabrika.sim import _drum
from fabrika.sim._drum import _ASIDE, _BESIDE, before, insert
from fabrika.sim._reach import Stand


class Slot:
    """A rehearsal in which a hand is open around a thing: so much is free on either side."""

    def __init__(self, off: float, room: float, yaw: float) -> None:
        self.off, self.room, self.yaw = off, room, yaw
        self.at = 0.0

    def pose(self, joints: Mapping[str, Array]) -> None:
        x, y, _ = joints["base"]
        self.at = float(-np.sin(self.yaw) * x + np.cos(self.yaw) * y)

    def clear(self, margin: float, near: Mapping[str, float]) -> bool:
        return self.gap(self.at) >= near["bundle"]

    def gap(self, aside: float) -> float:
        return self.room - abs(aside - self.off)


@given(st.floats(-0.03, 0.03), st.floats(0.0, 0.02), st.floats(-3.0, 3.0))
def test_the_hand_comes_out_with_as_much_free_as_a_step_aside_gives(
    off: float, room: float, yaw: float
) -> None:
    slot = Slot(off, room, yaw)
    placer: Any = SimpleNamespace(model=SimpleNamespace(rehearsal=slot))
    aside = _drum._way_out(placer, "bundle", np.array([0.0, 0.0, yaw]), "washer")
    best = max(slot.gap(far) for far in _ASIDE)
    if aside is None:
        assert best < _BESIDE[-1] + 1e-9
        return
    slot.pose({"base": aside})
    wanted = max((gap for gap in _BESIDE if gap <= best - 1e-9), default=_BESIDE[-1])
    assert slot.gap(slot.at) >= wanted - 1e-9


def test_the_base_drives_out_when_the_fingers_had_time_to_open() -> None:
    told: list[tuple[str, float]] = []

    def act(word: str, result: object = "") -> Any:
        def run(*_: object, seconds: float = 0.0, **__: object) -> Iterator[str]:
            told.append((word, seconds))
            yield word
            return result

        return run

    slot = Slot(0.012, 0.012, 0.0)
    base = np.zeros(3)
    model: Any = SimpleNamespace(
        rehearsal=slot, support=lambda name: (0.0, 9.0), stand=lambda: base
    )
    limbs = SimpleNamespace(
        follow=act("arm"), shape=act("fingers"), drive=lambda goal, **_: act(f"base {goal()}")()
    )
    placer: Any = SimpleNamespace(
        model=model,
        limbs=limbs,
        drive=act("base"),
        arm_path=lambda *_: [],
        look=lambda: model,
        let_go=act("open"),
        tuck=act("tuck"),
        left=lambda goal: goal,
        grips={"left": SimpleNamespace(open=(0.0,) * 6)},
    )
    stand = Stand(base, ({},), {})
    list(insert(placer, "bundle", "left", stand, "washer"))
    words = [word for word, _ in told]
    out = words.index("open") + 1
    assert told[out] == ("fingers", _drum._OPENS)
    # A little aside first, as its thing lies there, and then straight out.
    step, end = np.linspace(base, before(base), _drum._LOOKS)[1], before(base)
    aside = np.array([0.0, 0.012, 0.0])
    assert words[out + 1 : out + 3] == [f"base {step + aside}", f"base {end + aside}"]
