"""The conformance kit: what tests the built-in tasks, worlds, actors and robots tests yours.

Each check gives a list of `Breach`; an empty list means that the contract is kept. From a shell:
``fabrika check task NAME``. In a test::

    from fabrika.testing import check_task, require

    def test_my_task_keeps_the_contract() -> None:
        require(check_task(TASK))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fabrika._actor import Actor, Random, Zero
from fabrika._check import judge
from fabrika._episode import dump_episode, load_episode
from fabrika._errors import BrokenWorldError, ContractError
from fabrika._rollout import rollout
from fabrika._scenario import SPLITS, Scenario
from fabrika._signals import Array, Signal, Signals, check_signals
from fabrika._task import Task
from fabrika._world import Pictured, World

STEPS = 25
"""Control periods for which a world is tried."""
NOISE = 0.1
"""Share of its scenarios in which the random actor may break the physics."""
SECTIONS = ("Description", "Randomisation", "Success", "Safety")
"""What a task's description has to hold, each followed by a colon."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One way in which a contract is broken."""

    code: str
    """Stable: "world/restore", "expert/yield"."""
    message: str


class JointGroup(Protocol):
    """Joints that are commanded together; every tuple has one entry for each joint."""

    @property
    def names(self) -> Sequence[str]:
        """Name of each joint."""

    @property
    def unit(self) -> str:
        """Unit of a position."""

    @property
    def low(self) -> Sequence[float]:
        """Lowest positions [unit]."""

    @property
    def high(self) -> Sequence[float]:
        """Highest positions [unit]."""

    @property
    def velocity(self) -> Sequence[float]:
        """Largest speeds [unit/s]."""

    @property
    def torque(self) -> Sequence[float]:
        """Largest torques [N m] or forces [N]."""

    @property
    def home(self) -> Sequence[float]:
        """Positions at the start [unit]."""


class RobotLike(Protocol):
    """What every description of a robot has, whatever simulates it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def groups(self) -> Mapping[str, JointGroup]:
        """Its joints, in groups; the names of the groups are those of the actions."""


def require(breaches: Sequence[Breach]) -> None:
    """Raise `ContractError` that lists the breaches, if there are any."""
    if breaches:
        lines = "\n".join(f"  {breach.code}: {breach.message}" for breach in breaches)
        raise ContractError(f"the contract is broken ({len(breaches)} times):\n{lines}")


def check_task(task: Task, *, count: int = 20, at_least: float = 0.9) -> list[Breach]:
    """Its words, scenarios, world, expert and judge; zero and random actors must fail.

    ``count`` train scenarios are tried for each actor; of the expert's, ``at_least`` must pass.
    """
    breaches = [*_declared(task)]
    scenarios = list(task.scenarios("train", max(count, 2)))
    world = task.build()
    try:
        breaches += _declared_reads(task, world)
        breaches += check_world(task.build, scenarios[:2])
        breaches += check_actor(task.expert, task.build, scenarios[:2], task.horizon)
        for make in (task.expert, lambda: Zero(world.acts), lambda: Random(world.acts)):
            breaches += _brackets(task, make(), world, scenarios, at_least)
    except Exception as error:  # a plug-in may raise anything
        breaches.append(Breach("task/runs", f"{type(error).__name__}: {error}"))
    finally:
        world.close()
    return breaches


def check_world(build: Callable[[], World], scenarios: Sequence[Scenario]) -> list[Breach]:
    """Declarations, determinism, independence, aliasing, restoring and pictures.

    ``scenarios``: two or more different ones.
    """
    if len(scenarios) < 2:
        raise ContractError("check_world needs two different scenarios.")
    world, fresh = build(), build()
    try:
        breaches = [*_declarations(world)]
        if not breaches:  # the rest makes no sense for a world that declares nonsense
            breaches += _equal_scenarios(world, fresh, scenarios)
            breaches += _observing(world, scenarios[0])
            breaches += _restoring(world, fresh, scenarios[0])
            if isinstance(world, Pictured):
                breaches += _picturing(world, world, scenarios)
    except Exception as error:  # a plug-in may raise anything
        breaches = [Breach("world/runs", f"{type(error).__name__}: {error}")]
    finally:
        world.close()
        fresh.close()
    return breaches


def check_actor(
    make: Callable[[], Actor],
    build: Callable[[], World],
    scenarios: Sequence[Scenario],
    horizon: float,
) -> list[Breach]:
    """No faults; equal scenarios give equal actions, whatever it did before. ``horizon`` [s]."""
    world, actor = build(), make()
    breaches = []
    try:
        if not actor.name:
            breaches.append(Breach("actor/name", "an actor needs a name."))
        unknown = sorted(actor.reads - world.observes.keys())
        if unknown:
            return [*breaches, Breach("actor/reads", f"reads what does not exist: {unknown}.")]
        first = [rollout(actor, world, scenario, horizon) for scenario in scenarios]
        for episode in first:
            if episode.ending == "fault":
                where = f"scenario {episode.scenario.index}, step {episode.length}"
                breaches.append(Breach("actor/fault", f"{where}: {episode.fault}"))
        for who, again in (("the same actor, later", actor), ("a fresh actor", make())):
            episode = rollout(again, world, scenarios[0], horizon)
            if dump_episode(episode) != dump_episode(first[0]):
                index = scenarios[0].index
                breaches.append(
                    Breach("actor/repeats", f"{who} acts otherwise in scenario {index}.")
                )
    finally:
        world.close()
    return breaches


def check_robot(robot: RobotLike) -> list[Breach]:
    """Names, and limits of position, velocity and torque for every joint."""
    breaches = []
    names = [name for group in robot.groups.values() for name in group.names]
    if not robot.name or not names:
        breaches.append(Breach("robot/joints", "a robot needs a name and at least one joint."))
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        breaches.append(Breach("robot/joints", f"two joints of one name: {twice}."))
    for key, group in robot.groups.items():
        columns = {
            column: np.array(getattr(group, column), float)
            for column in ("low", "high", "velocity", "torque", "home")
        }
        short = [c for c, values in columns.items() if values.shape != (len(group.names),)]
        if short:
            breaches.append(Breach("robot/limits", f"{key}: {short} differ in length from names."))
            continue
        if not group.unit:
            breaches.append(Breach("robot/unit", f"{key} has no unit."))
        if not all(np.isfinite(values).all() for values in columns.values()):
            breaches.append(Breach("robot/limits", f"{key}: every limit has to be finite."))
        if not (columns["low"] < columns["high"]).all():
            breaches.append(Breach("robot/limits", f"{key}: low must lie below high."))
        if not ((columns["velocity"] > 0) & (columns["torque"] > 0)).all():
            breaches.append(Breach("robot/limits", f"{key}: velocity and torque are above zero."))
        if not ((columns["low"] <= columns["home"]) & (columns["home"] <= columns["high"])).all():
            breaches.append(Breach("robot/home", f"{key}: home lies outside of the limits."))
    return breaches


def _declared(task: Task) -> Iterator[Breach]:
    """What can be said of a task without running it."""
    missing = [section for section in SECTIONS if f"{section}:" not in task.description]
    if missing:
        yield Breach("task/description", f"the description lacks the sections {missing}.")
    if not task.name.rpartition("-v")[2].isdigit() or "/" not in task.name:
        yield Breach("task/name", f"{task.name!r} is not of the form line/what-v1.")
    for split in SPLITS:
        draw = "made-up" if split == "release" else ""
        first, again = task.scenario(split, 3, draw), task.scenario(split, 3, draw)
        if first != again or Scenario.from_json(first.to_json()) != first:
            yield Breach("task/sample", f"scenario 3 of {split} is not the same twice.")
    if task.scenario("train", 0).params == task.scenario("train", 1).params:
        yield Breach("task/sample", "two scenarios have the same params: nothing is randomised.")


def _declared_reads(task: Task, world: World) -> Iterator[Breach]:
    for field in ("policy_reads", "camera_reads"):
        for name in getattr(task, field):
            if name not in world.observes:
                yield Breach(f"task/{field}", f"{name!r} is not observed.")
            elif world.observes[name].truth:
                yield Breach(f"task/{field}", f"{name!r} is simulator truth: no sensor reports it.")


def _brackets(
    task: Task, actor: Actor, world: World, scenarios: Sequence[Scenario], at_least: float
) -> Iterator[Breach]:
    """The expert must pass often enough, zero and random never; the judge must be pure."""
    passed, broke = [], list[Breach]()
    for scenario in scenarios:
        try:
            episode = rollout(actor, world, scenario, task.horizon)
        except BrokenWorldError as error:
            what = f"{actor.name} in scenario {scenario.index}: {error}"
            broke.append(Breach("world/broke", what))
            continue
        verdict = judge(episode, task.checks)
        if repr(judge(load_episode(dump_episode(episode)), task.checks)) != repr(verdict):
            yield Breach("task/judge", f"scenario {scenario.index}: another verdict from its file.")
        if verdict.passed:
            passed.append(scenario.index)
    # Noise at all limits at once may be more than a time step can follow; sense may not.
    if len(broke) > (NOISE * len(scenarios) if actor.name == "random" else 0):
        yield from broke
    share = len(passed) / len(scenarios)
    if actor.name in ("zero", "random"):
        if passed:
            yield Breach(
                f"{actor.name}/fails", f"the {actor.name} actor passed in scenarios {passed}."
            )
    elif share < at_least:
        yield Breach("expert/yield", f"{share:.0%} of scenarios passed; {at_least:.0%} are needed.")


def _declarations(world: World) -> Iterator[Breach]:
    if not world.dt > 0:
        yield Breach("world/dt", f"the control period is {world.dt} s.")
    if not world.observes or not world.acts:
        yield Breach("world/signals", "a world observes and acts.")
    for name, signal in {**world.observes, **world.acts}.items():
        if not signal.unit:
            yield Breach("signal/unit", f'{name!r} has no unit ("1" for a ratio).')
        if signal.names and signal.shape != (len(signal.names),):
            yield Breach("signal/names", f"{name!r}: {len(signal.names)} names, {signal.shape}.")
    for name, signal in world.acts.items():
        if not (np.isfinite([signal.low, signal.high]).all() and signal.low < signal.high):
            yield Breach("action/bounds", f"{name!r} needs finite bounds, low below high.")
        if signal.dtype != "float32":  # as datasets hold them: else none could be replayed
            yield Breach("action/dtype", f"{name!r} is {signal.dtype}; actions are float32.")


def _actions(acts: Mapping[str, Signal]) -> list[Signals]:
    """The same noise every time, in the inner half of the bounds."""
    rng = np.random.default_rng(0)
    return [
        {
            name: rng.uniform(
                0.75 * s.low + 0.25 * s.high, 0.25 * s.low + 0.75 * s.high, s.shape
            ).astype(s.dtype)
            for name, s in acts.items()
        }
        for _ in range(STEPS)
    ]


def _vectors(world: World) -> list[str]:
    return [name for name, signal in world.observes.items() if not signal.image]


def _look(world: World, names: Sequence[str]) -> list[bytes]:
    """All that can be seen of a world now, as bytes: equal only if equal to the last bit."""
    seen = world.observe(names)
    check_signals(seen, {name: world.observes[name] for name in names}, "the world")
    arrays = [np.array(world.time), np.array(world.state()), *(seen[name] for name in names)]
    return [np.asarray(array).tobytes() for array in arrays]


def _trace(world: World, actions: Sequence[Signals], scribble: bool = False) -> list[list[bytes]]:
    """What is seen along the actions, from wherever the world is now.

    With ``scribble``, what the world was given is overwritten as soon as it has stepped.
    """
    names, trace = _vectors(world), []
    for action in actions:
        given = {name: np.array(value) for name, value in action.items()}
        ended = world.step(given)
        if any(given[name].tobytes() != action[name].tobytes() for name in action):
            raise ContractError("step() writes into the action that it is given: copy it.")
        for value in given.values() if scribble else ():
            value.fill(np.nan)
        carried = [np.array(world.executed[name]).tobytes() for name in sorted(world.acts)]
        trace.append([*_look(world, names), *carried])
        if ended:
            break
    return trace


def _equal_scenarios(world: World, fresh: World, scenarios: Sequence[Scenario]) -> Iterator[Breach]:
    actions = _actions(world.acts)

    def run(where: World, scenario: Scenario, scribble: bool = False) -> list[list[bytes]]:
        where.reset(scenario)
        if where.time != 0.0:
            raise ContractError(f"the time after reset() is {where.time} s, not 0.")
        return [_look(where, sorted(where.observes)), *_trace(where, actions, scribble)]

    first, other = run(world, scenarios[0]), run(world, scenarios[1])
    if first == other:
        yield Breach("world/scenario", "two scenarios give the same world.")
    if run(world, scenarios[0]) != first:
        yield Breach("world/repeats", "the same scenario is another one after others were run.")
    if run(world, scenarios[0], scribble=True) != first:
        yield Breach("world/keeps", "it keeps the action that step() is given: copy it.")
    if run(fresh, scenarios[0]) != first:
        yield Breach("world/fresh", "the same scenario is another one in a fresh world.")


def _observing(world: World, scenario: Scenario) -> Iterator[Breach]:
    """What is seen of one signal must not depend on which others are asked for, nor how often."""
    world.reset(scenario)
    _trace(world, _actions(world.acts)[:3])
    names = sorted(world.observes)
    state = np.array(world.state())
    if state.ndim != 1 or state.dtype != np.float64:
        yield Breach("world/state", f"state() is {state.dtype} {state.shape}, not float64 (S,).")
    seen = {name: np.array(value) for name, value in world.observe(names).items()}
    backwards = {name: np.array(v) for name, v in world.observe(names[::-1]).items()}
    for name in names:
        alone = world.observe([name])
        if set(alone) != {name}:
            yield Breach("observe/names", f"asked for {name!r} alone, got {sorted(alone)}.")
        values = (seen[name], backwards[name], np.array(alone[name]))
        if len({value.tobytes() for value in values}) > 1:
            yield Breach("observe/independent", f"{name!r} depends on what else is asked for.")
    if np.array(world.state()).tobytes() != state.tobytes():
        yield Breach("observe/changes", "observing changes the state.")


def _restoring(world: World, fresh: World, scenario: Scenario) -> Iterator[Breach]:
    """A restored world must go on, step for step, as the one went on that it was taken from.

    What is seen before its first step may be computed anew: engines keep some quantities from
    within the last step, where a restored one has those of its end.
    """
    actions = _actions(world.acts)
    world.reset(scenario)
    if len(_trace(world, actions[: STEPS // 2])) < STEPS // 2:
        return  # it ended by itself: there is nothing to continue
    state: Array = np.array(world.state())
    goes_on = _trace(world, actions[STEPS // 2 :])
    for where, which in ((world, "the same"), (fresh, "a fresh")):
        where.restore(scenario, state)
        if np.array(where.state()).tobytes() != state.tobytes():
            yield Breach("world/restore", f"{which} world has another state than was restored.")
        if _trace(where, actions[STEPS // 2 :]) != goes_on:
            yield Breach("world/restore", f"{which} world, restored, goes on otherwise.")


def _picturing(world: World, pictured: Pictured, scenarios: Sequence[Scenario]) -> Iterator[Breach]:
    world.reset(scenarios[0])
    state = np.array(world.state())
    if "scene" not in pictured.cameras:
        yield Breach("picture/scene", 'there is no camera "scene" that shows the whole.')
    for camera in pictured.cameras:
        pictures = []
        for scenario, look in ((scenarios[0], 0), (scenarios[1], 1), (scenarios[0], 0)):
            pictured.dress(scenario, look)
            pictures.append(np.array(pictured.picture(state, camera, 24, 32)))
        if pictures[0].shape != (24, 32, 3) or pictures[0].dtype != np.uint8:
            yield Breach("picture/shape", f"{camera!r}: {pictures[0].dtype} {pictures[0].shape}.")
        if pictures[0].tobytes() != pictures[2].tobytes():
            yield Breach("picture/repeats", f"{camera!r}: equal states give other pictures.")
    if np.array(world.state()).tobytes() != state.tobytes():
        yield Breach("picture/changes", "making pictures changes the state of the world.")
