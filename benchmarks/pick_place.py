"""A numpy-only stand-in for a home task: 32 joints, a noisy late tracker, one pick and place.

It has the sizes of the real tasks (joint positions, palm poses, trackers, about 250 ticks at
25 Hz) and none of their physics, so that policies can be compared in minutes on two cores.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from fabrika._actor import Scripted, Story
from fabrika._check import Check, held_to_end
from fabrika._scenario import Scenario
from fabrika._signals import Array, Signal, Signals
from fabrika._task import Task

DT = 0.04
JOINTS = {"base": 3, "lift": 1, "head": 2, "left_arm": 7, "right_arm": 7, "left_hand": 6}
JOINTS["right_hand"] = 6
SPEED = {"base": 0.5, "lift": 0.2, "head": 1.5, "left_arm": 2.0, "right_arm": 2.0}
AXES = (2, 1, 0, 1, 0, 1, 2)
LINKS = np.array(
    [[0, 0, 0], [0, 0, 0], [0.05, 0, 0], [0.3, 0, 0], [0, 0, 0], [0.3, 0, 0], [0.0] * 3]
)
PALM = np.array([0.12, 0.0, 0.0])
READY = np.array([0.3, 0.6, 0.0, -1.4, 0.0, 0.8, 0.0])


def turn(axis: int, angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def palm_of(q: Array, lift: float, side: float) -> tuple[Array, Array, Array]:
    """Palm position (3,), rotation (3, 3), and the geometric Jacobian (6, 7), base frame."""
    at, frame = np.array([0.1, side * 0.2, 1.0 + lift]), np.eye(3)
    origins, axes = [], []
    for k, axis in enumerate(AXES):
        at = at + frame @ LINKS[k]
        origins.append(at)
        axes.append(frame[:, axis])
        frame = frame @ turn(axis, q[k])
    at = at + frame @ PALM
    z = np.array(axes)
    return at, frame, np.concatenate([np.cross(z, at - np.array(origins)), z], axis=1).T


def pose9(at: Array, frame: Array) -> Array:
    return np.concatenate([at, frame[:, 0], frame[:, 1]])


class PickPlaceWorld:
    """The hand must close on the mug within 15 mm, and let go within 30 mm of the shelf spot."""

    dt = DT
    warnings: tuple[str, ...] = ()

    def __init__(self) -> None:
        pose = Signal(shape=(9,), unit="m,rot6d")
        self.observes: Mapping[str, Signal] = {
            **{f"joint/{n}": Signal(shape=(k,), unit="rad") for n, k in JOINTS.items()},
            **dict.fromkeys(("hand/left", "hand/right", "tracker/mug", "tracker/shelf"), pose),
            "touch/right": Signal(shape=(5,), unit="N"),
            "truth/mug": Signal(shape=(3,), unit="m", truth=True),
            "truth/spot": Signal(shape=(3,), unit="m", truth=True),
        }
        self.acts = {
            n: Signal(shape=(k,), dtype="float32", unit="rad", low=-3, high=3)
            for n, k in JOINTS.items()
        }

    def reset(self, scenario: Scenario) -> None:
        p = scenario.params
        self._rng = np.random.default_rng(scenario.seed("sensor"))
        self._q = {n: np.zeros(k) for n, k in JOINTS.items()}
        self._q["left_arm"], self._q["right_arm"] = READY * [-1, 1, 1, 1, 1, 1, 1], READY.copy()
        self._q["right_arm"] = self._q["right_arm"] + np.array(p["start"])
        self._mug, self._spot = np.array(p["mug"], float), np.array(p["spot"], float)
        self._gain, self._held, self._offset = float(p["gain"]), 0, np.zeros(3)
        self._past: list[Array] = []
        self._seen = np.zeros(3)
        self.time, self._tick = 0.0, 0
        self.executed: Signals = {n: q.copy() for n, q in self._q.items()}
        self._sense()

    def _sense(self) -> None:
        self._past.append(self._mug.copy())
        if self._tick == 0 or self._rng.random() > 0.05:
            late = self._past[max(0, len(self._past) - 3)]
            self._seen = late + self._rng.normal(0, 0.003, 3)

    def _palm(self, side: str) -> tuple[Array, Array]:
        sign = 1.0 if side == "left" else -1.0
        return palm_of(self._q[f"{side}_arm"], float(self._q["lift"][0]), sign)[:2]

    def observe(self, names: Collection[str]) -> Signals:
        out: dict[str, Array] = {}
        for name in names:
            kind, _, what = name.partition("/")
            if kind == "joint":
                out[name] = self._q[what].copy()
            elif kind == "hand":
                out[name] = pose9(*self._palm(what))
            elif kind == "tracker":
                out[name] = pose9(self._seen if what == "mug" else self._spot, np.eye(3))
            elif kind == "touch":
                out[name] = np.full(5, float(self._held == 1))
            else:
                out[name] = (self._mug if what == "mug" else self._spot).copy()
        return out

    def step(self, action: Signals) -> bool:
        for name, q in self._q.items():
            most = SPEED.get(name, 4.0) * DT
            q += np.clip(self._gain * (action[name] - q), -most, most)
        self.executed = {n: np.array(a) for n, a in action.items()}
        closed = float(self._q["right_hand"].mean())
        at, _ = self._palm("right")
        if self._held == 0 and closed > 0.8:
            near = np.linalg.norm(at - self._mug) < 0.015
            self._held, self._offset = (1 if near else 2), self._mug - at
        elif self._held == 1:
            self._mug = at + self._offset
            self._held = 3 if closed < 0.5 else 1
        self.time += DT
        self._tick += 1
        self._sense()
        return False

    def state(self) -> Array:
        return np.concatenate([*self._q.values(), self._mug, [self._held]])

    def restore(self, scenario: Scenario, state: Array) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


def sample(rng: np.random.Generator) -> dict[str, object]:
    return {
        "mug": (np.array([0.5, -0.15, 0.85]) + rng.uniform(-1, 1, 3) * [0.1, 0.15, 0.02]).tolist(),
        "spot": (np.array([0.5, 0.05, 1.15]) + rng.uniform(-1, 1, 3) * [0.06, 0.12, 0.05]).tolist(),
        "start": rng.uniform(-0.1, 0.1, 7).tolist(),
        "gain": float(rng.uniform(0.5, 0.8)),
    }


def _story(seen: Signals, rng: np.random.Generator) -> Story:
    target = {n: seen[f"joint/{n}"].copy() for n in JOINTS}
    facing = np.eye(3)
    goal = seen["hand/right"][:3].copy()

    def toward(point: Array, speed: float) -> dict[str, Array]:
        """Move the commanded palm by one tick, by damped least squares on the command."""
        nonlocal goal
        gap = point - goal
        goal = goal + gap * min(1.0, speed * DT / max(float(np.linalg.norm(gap)), 1e-9))
        q = target["right_arm"]
        for _ in range(3):
            at, frame, jacobian = palm_of(q, float(target["lift"][0]), -1.0)
            spin = 0.5 * sum(np.cross(frame[:, i], facing[:, i]) for i in range(3))
            error = np.concatenate([goal - at, np.clip(spin, -0.1, 0.1)])
            q = q + jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(6), error)
        target["right_arm"] = q
        return {n: t.copy() for n, t in target.items()}

    for _ in range(220):
        if "stage" not in locals():
            stage, waited = 0, 0
        mug, spot, hand = seen["truth/mug"], seen["truth/spot"], seen["hand/right"][:3]
        carry = spot + (hand - mug)
        plan = (
            mug - [0.15, 0, -0.05],
            mug,
            mug,
            mug + np.array([0, 0, 0.12]),
            carry - [0.1, 0, -0.08],
            carry,
            carry,
            hand - [0.2, 0, 0],
            hand,
        )
        if stage == 0:
            grip = mug.copy()
        point = (
            plan[stage]
            if stage not in (2, 3)
            else grip + np.array([0, 0, 0.0 if stage == 2 else 0.12])
        )
        if stage in (6, 7, 8) and waited == 0:
            last = goal.copy()
        if stage in (6, 7, 8):
            point = last - [0.2 if stage >= 7 else 0.0, 0, 0] if stage < 8 else last
        target["right_hand"] = np.full(6, 1.0 if 2 <= stage < 6 else 0.0)
        target["head"] = np.array([np.arctan2(mug[1], mug[0]), -0.4])
        waited += 1
        near = float(np.linalg.norm(point - hand)) < (0.004 if stage in (1, 5) else 0.02)
        if stage in (2, 6):
            near = waited > 12
        if near and stage < 8:
            stage, waited = stage + 1, 0
        seen = yield toward(point, 0.15 if stage in (1, 5) else 0.35)
    return ""


def expert() -> Scripted:
    reads = [f"joint/{n}" for n in JOINTS] + ["hand/right", "truth/mug", "truth/spot"]
    return Scripted("expert", reads, _story)


def _placed(episode: object) -> Array:
    seen = episode.observations  # type: ignore[attr-defined]
    near = np.linalg.norm(seen["truth/mug"] - seen["truth/spot"], axis=1) < 0.03
    away = np.linalg.norm(seen["truth/mug"] - seen["hand/right"][:, :3], axis=1) > 0.08
    return near & away


TASK = Task(
    name="bench/pick-place-v1",
    description="Description\nRandomisation\nSuccess\nSafety",
    instructions=("put the mug on the shelf",),
    held_out_instructions=("stand the mug on the shelf",),
    horizon=9.0,
    sample=sample,
    build=PickPlaceWorld,
    expert=expert,
    checks=(
        Check(name="placed", kind="goal", measure=held_to_end(_placed), unit="s", at_least=0.4),
    ),
)
