"""Fabrika: the physical AI factory that its owner controls.

Making data and proving a robot are the same rollout::

    import fabrika

    task = fabrika.task("toy/reach-v1")
    scenario = task.scenario("train", 0)
    episode = fabrika.rollout(task.expert(), task.build(), scenario, task.horizon)
    verdict = fabrika.judge(episode, task.checks)

Importing this package imports no plug-in, no simulator and no learning framework.
"""

from fabrika._actor import Actor, Random, Scripted, Story, Zero
from fabrika._check import Check, at_end, ever, held_to_end, judge
from fabrika._episode import Episode, Finding, Verdict, dump_episode, load_episode
from fabrika._errors import (
    BrokenWorldError,
    BusyError,
    ContractError,
    EvidenceError,
    FabrikaError,
    GateFailedError,
    IntegrityError,
    InterruptedRunError,
    ResourceError,
    SignalError,
    UnknownNameError,
    UsageError,
    VersionError,
)
from fabrika._gate import Decision, Gate, check_evidence
from fabrika._registry import known, load, task
from fabrika._result import Result
from fabrika._rollout import rollout
from fabrika._run import run_scenarios
from fabrika._scenario import Scenario, Split
from fabrika._signals import Signal, Signals
from fabrika._station import make_actor
from fabrika._store import Store
from fabrika._task import Task
from fabrika._world import Pictured, World

__all__ = [
    "Actor",
    "BrokenWorldError",
    "BusyError",
    "Check",
    "ContractError",
    "Decision",
    "Episode",
    "EvidenceError",
    "FabrikaError",
    "Finding",
    "Gate",
    "GateFailedError",
    "IntegrityError",
    "InterruptedRunError",
    "Pictured",
    "Random",
    "ResourceError",
    "Result",
    "Scenario",
    "Scripted",
    "Signal",
    "SignalError",
    "Signals",
    "Split",
    "Store",
    "Story",
    "Task",
    "UnknownNameError",
    "UsageError",
    "Verdict",
    "VersionError",
    "World",
    "Zero",
    "at_end",
    "check_evidence",
    "dump_episode",
    "ever",
    "held_to_end",
    "judge",
    "known",
    "load",
    "load_episode",
    "make_actor",
    "rollout",
    "run_scenarios",
    "task",
]
