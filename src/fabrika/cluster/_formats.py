"""One job, written down for Slurm, Kueue, SkyPilot or OSMO.

Each format is read by a program that substitutes something: a shell ``$(…)``, Kubernetes
``$(NAME)``, Jinja ``{{…}}``. Text of the user therefore reaches a file only through `shlex.quote`
(shells), `_quoted` (YAML), and whatever else the format asks for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from fabrika._errors import UsageError
from fabrika.cluster._jobs import NAME, ArrayJob

System = Literal["slurm", "kueue", "skypilot", "osmo"]
"""A kind of cluster."""
SYSTEMS: tuple[System, ...] = get_args(System)
"""All kinds of cluster that a job can be written down for."""

GRACE = 60
"""Seconds [s] from the signal to stop until a share is killed."""
LEAST_MINUTES = 3
"""Slurm may send its warning up to a minute before the grace time begins."""

_NEEDED: dict[str, tuple[str, ...]] = {"kueue": ("image", "queue", "volume"), "osmo": ("image",)}
_UNKNOWN: dict[str, tuple[str, ...]] = {
    "slurm": ("image", "volume"),
    "skypilot": ("queue", "minutes", "at_once"),
    "osmo": ("at_once",),
}
_OPTIONS = {"minutes": "time", "at_once": "at-once"}
_NOTE = """\
# {count} scenarios of {task} from {start} on, in {jobs} contiguous shares, into one store.
# The store must be on a file system that all nodes share, with working POSIX locks.
# A share may be stopped, and may run again: finished scenarios are not run again.
# Exit codes: 0 done, 3 done with losses, 4 stopped (run it again to go on), 8 store busy.
"""
_RANGE = """\
from=$(({count} * share / {jobs}))
upto=$(({count} * (share + 1) / {jobs}))
"""
_SHARE = '--start "$(({start} + from))" -n "$((upto - from))"'


def job_file(system: System, job: ArrayJob) -> str:
    """The text of the job's file.

    Raises `UsageError` if the system needs an option that the job lacks, or has no such thing.
    """
    missing = [f"--{field}" for field in _NEEDED.get(system, ()) if not getattr(job, field)]
    if missing:
        raise UsageError(f"{system} needs {', '.join(missing)}.")
    for field in _UNKNOWN.get(system, ()):
        if getattr(job, field):
            raise UsageError(f"{system} knows no --{_OPTIONS.get(field, field)}: leave it out.")
    if job.minutes is not None and job.minutes < LEAST_MINUTES:
        raise UsageError(f"--time {job.minutes}: give at least {LEAST_MINUTES} minutes.")
    writers: dict[System, Callable[[ArrayJob], str]] = {
        "slurm": _slurm,
        "kueue": _kueue,
        "skypilot": _skypilot,
        "osmo": _osmo,
    }
    return writers[system](job)


def next_command(system: System, job: ArrayJob, file: str) -> list[str]:
    """The words that hand the written file to the cluster."""
    return {
        "slurm": ["sbatch", file],
        "kueue": ["kubectl", "apply", "-f", file],
        "skypilot": ["sky", "launch", "-c", job.name, file],
        "osmo": ["osmo", "workflow", "submit", file],
    }[system]


def _slurm(job: ArrayJob) -> str:
    limit = f"%{job.at_once}" if job.at_once else ""
    options = {
        "job-name": job.name,
        "array": f"0-{job.jobs - 1}{limit}",
        "ntasks": "1",
        "cpus-per-task": str(job.workers),
        "partition": job.queue,
        "time": str(job.minutes or ""),
        "mem": f"{job.memory}G" if job.memory else "",
        # The script becomes the rollout itself (exec), so that it gets this signal, stops
        # cleanly and ends with exit code 4.
        "signal": f"B:TERM@{GRACE}",
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value]
    head = "\n".join(["#!/bin/bash", *lines, "#SBATCH --requeue", "#SBATCH --open-mode=append"])
    missing = "an array job: hand it to sbatch"
    body = "set -eu\n" + f"share=${{SLURM_ARRAY_TASK_ID:?{missing}}}\n" + _range(job)
    run = f"exec {shlex.join(job.rollout())} \\\n    {_SHARE.format(start=job.start)}\n"
    return f"{head}\n{_note(job)}{body}{run}"


def _kueue(job: ArrayJob) -> str:
    assert job.volume is not None
    _require_name("--volume", job.volume[0])
    script = "set -eu\nshare=$JOB_COMPLETION_INDEX\n" + _range(job)
    script += f'exec "$@" {_SHARE.format(start=job.start)}\n'
    # The user's words are arguments of a script that is always the same. Kubernetes would
    # replace $(NAME) in them, and takes $$ for $.
    words = [word.replace("$", "$$") for word in job.rollout()]
    memory = {"memory": f"{job.memory}Gi"} if job.memory else {}
    resources: dict[str, Any] = {"requests": {"cpu": str(job.workers), **memory}}
    if memory:
        resources["limits"] = memory
    container = {
        "name": "rollout",
        "image": job.image,
        "command": ["/bin/sh", "-c"],
        "args": [script, "share", *words],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "store", "mountPath": job.volume[1]}],
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        **({"activeDeadlineSeconds": job.minutes * 60} if job.minutes else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": job.volume[0]}}],
    }
    never = {"containerName": "rollout", "operator": "In", "values": [2, 3, 6]}
    spec = {
        "suspend": True,
        "completionMode": "Indexed",
        "completions": job.jobs,
        "parallelism": job.at_once or job.jobs,
        "backoffLimitPerIndex": 3,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                {"action": "FailIndex", "onExitCodes": never},
            ]
        },
        "template": {"spec": pod},
    }
    labels = {"kueue.x-k8s.io/queue-name": job.queue}
    head = {"apiVersion": "batch/v1", "kind": "Job"}
    return _note(job) + _yaml(
        {**head, "metadata": {"name": job.name, "labels": labels}, "spec": spec}
    )


def _skypilot(job: ArrayJob) -> str:
    resources: dict[str, Any] = {"cpus": f"{job.workers}+"}
    if job.memory:
        resources["memory"] = f"{job.memory}+"
    if job.image:
        resources["image_id"] = f"docker:{job.image}"
    # A node that fails ends all others, so that losses, which are on record, count as done.
    run = "set -eu\nshare=$SKYPILOT_NODE_RANK\n" + _range(job) + "code=0\n"
    run += f"{shlex.join(job.rollout())} \\\n    {_SHARE.format(start=job.start)} || code=$?\n"
    run += 'if [ "$code" -eq 3 ]; then code=0; fi\nexit "$code"\n'
    task: dict[str, Any] = {"name": job.name, "num_nodes": job.jobs, "resources": resources}
    if job.volume:
        _require_name("--volume", job.volume[0])
        task["volumes"] = {job.volume[1]: job.volume[0]}
    task["setup"] = f"{shlex.join(job.command)} --version\n"
    return _note(job) + _yaml({**task, "run": run})


def _osmo(job: ArrayJob) -> str:
    resources: dict[str, Any] = {"cpu": job.workers, "storage": "1Gi"}
    if job.memory:
        resources["memory"] = f"{job.memory}Gi"
    mounts = {"volumeMounts": [":".join(job.volume)]} if job.volume else {}
    tasks = [
        {
            "name": f"share-{number}",
            "image": job.image,
            "command": list(job.command),
            "args": job.rollout(job.share(number))[len(job.command) :],
            **mounts,
            "exitActions": {"COMPLETE": "0,3", "RESCHEDULE": "4,8"},
        }
        for number in range(job.jobs)
    ]
    workflow: dict[str, Any] = {"name": job.name}
    if job.queue:
        workflow["pool"] = job.queue
    if job.minutes:
        workflow["timeout"] = {"exec_timeout": f"{job.minutes}m"}
    workflow |= {"resources": {"default": resources}, "tasks": tasks}
    # OSMO replaces tokens after it has read the YAML, where nothing can protect them.
    for word in [*job.rollout(), job.image, *mounts.get("volumeMounts", [])]:
        if re.search(r"\{[{%#]|\$[($]", word):
            raise UsageError(f"{word!r}: OSMO would replace a part of it. Use another name.")
    if job.volume and [part.count(":") for part in job.volume] != [0, 0]:
        raise UsageError(f"--volume {':'.join(job.volume)}: HOST_FOLDER:FOLDER, no other colon.")
    return _note(job) + _yaml({"workflow": workflow})


def _note(job: ArrayJob) -> str:
    # A comment ends at the line's end, and a task's name may hold one.
    task = re.sub(r"[^\w./-]", "?", job.task, flags=re.ASCII)
    return _NOTE.format(count=job.count, task=task, start=job.start, jobs=job.jobs)


def _range(job: ArrayJob) -> str:
    return _RANGE.format(count=job.count, jobs=job.jobs)


def _require_name(option: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(f"{option} {name!r} is not a name that a cluster knows.")


def _yaml(data: Mapping[str, Any]) -> str:
    return "\n".join(_lines(data, "")) + "\n"


def _lines(node: Mapping[str, Any] | Sequence[Any], indent: str) -> Iterator[str]:
    """Block YAML. Every string is quoted, or a block of plain text; flat lists take one line."""
    if isinstance(node, Mapping):
        heads = [(f"{_quoted(key) if '/' in key else key}:", value) for key, value in node.items()]
    else:
        heads = [("-", value) for value in node]
    for head, value in heads:
        if _is_block(value):
            yield f"{indent}{head} |"
            lines = value.removesuffix("\n").split("\n")
            yield from (f"{indent}  {line}" if line else "" for line in lines)
        elif (flat := _flat(value)) is not None:
            yield f"{indent}{head} {flat}"
        else:
            inner = list(_lines(value, indent + "  "))
            if head == "-":
                inner[0] = f"{indent}- {inner[0].lstrip()}"
            else:
                yield f"{indent}{head}"
            yield from inner


def _is_block(value: object) -> bool:
    """Plain text of whole lines, which a block shows as it is."""
    return isinstance(value, str) and bool(re.fullmatch(r"[!-~]([ -~\n]*[!-~])?\n", value))


def _flat(value: object) -> str | None:
    """A scalar, or a list of nothing else, on one line; None for what needs more."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):  # or a truth value, which YAML spells in lower case
        return str(value).lower()
    if isinstance(value, Mapping) or not isinstance(value, Sequence):
        return None
    items = [None if _is_block(item) else _flat(item) for item in value]
    words = [item for item in items if item is not None]
    return f"[{', '.join(words)}]" if len(words) == len(items) else None


def _quoted(text: str) -> str:
    """A double-quoted YAML string in ASCII: what JSON writes, but for characters past U+FFFF."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if " " <= character <= "~":
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
