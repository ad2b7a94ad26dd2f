"""The loop. Data, proof and playback all pass through `rollout`; there is no other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabrika._actor import Actor
from fabrika._episode import Ending, Episode
from fabrika._errors import BrokenWorldError, ContractError, SignalError, UnknownNameError
from fabrika._scenario import Scenario
from fabrika._signals import Array, Signal, Signals, Tape, check_signals, copy_signals
from fabrika._world import World


def rollout(actor: Actor, world: World, scenario: Scenario, horizon: float) -> Episode:
    """Let the actor act in the scenario, and write down all of it.

    The actor is shown the signals that it declared, and nothing else. A broken actor (it
    raises, or gives NaN, a wrong shape or a wrong name) fails its episode: ``ending`` is
    "fault". A broken world raises `BrokenWorldError`: its rollout is void. ``horizon`` [s].
    """
    reads = frozenset(actor.reads)  # once: what is shown is what the episode says
    unknown = reads - world.observes.keys()
    if unknown:
        raise UnknownNameError("signal", sorted(unknown)[0], world.observes, f"({actor.name})")
    recorded = {name: s for name, s in world.observes.items() if not s.image}
    declared = recorded | {name: world.observes[name] for name in reads}
    steps = round(horizon / world.dt)
    if steps < 1:
        raise ContractError(f"a horizon of {horizon} s is shorter than one step, {world.dt} s.")

    world.reset(scenario)
    observations, actions, executed = Tape(recorded), Tape(world.acts), Tape(world.acts)
    states: list[Array] = []
    times: list[float] = []
    ending: Ending = "horizon"
    fault = ""

    def sound(values: Signals, declared: Mapping[str, Signal]) -> Signals:
        try:
            check_signals(values, declared, "the world")
        except SignalError as error:  # NaN is how most simulators diverge
            raise BrokenWorldError(str(error)) from error
        return values

    def look() -> Signals:
        seen = sound(world.observe(declared), declared)
        observations.add(seen)
        states.append(np.array(world.state(), np.float64))
        times.append(world.time)
        return {name: np.array(seen[name]) for name in reads}

    seen = look()
    while actions.length < steps:
        try:
            if not actions.length:
                actor.reset(scenario.instruction, scenario.seed("actor"))
            action = actor.act(seen)
            check_signals(action, world.acts, f"actor {actor.name!r}")
            # In the declared precision, so that what is recorded is what the world is given.
            action = copy_signals(action, world.acts)
        except Exception as error:  # whatever an actor raises is its own failure
            ending, fault = "fault", f"{type(error).__name__}: {error}"
            break
        actions.add(action)
        ended = world.step(action)
        executed.add(sound(world.executed, world.acts))
        seen = look()
        if ended:
            ending = "world"
            break

    return Episode(
        scenario=scenario,
        actor=actor.name,
        reads=tuple(sorted(reads)),
        truth=tuple(sorted(name for name, s in world.observes.items() if s.truth)),
        dt=world.dt,
        times=np.array(times),
        observations=observations.cut(),
        actions=actions.cut(),
        executed=executed.cut(),
        states=np.stack(states),
        ending=ending,
        fault=fault,
        remark=actor.remark,
        warnings=tuple(world.warnings),
    )
