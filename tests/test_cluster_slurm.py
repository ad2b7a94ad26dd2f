"""A real Slurm, started by the test itself: what was submitted is in the store, and is the same.

Needs root, slurmctld, slurmd and munged (Debian: slurm-wlm, munge). Everything is in a folder of
its own, on loopback, with its own key, and ends with the module.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fabrika import Store, run_scenarios

TOOLS = ("slurmctld", "slurmd", "munged", "sbatch", "scontrol", "scancel", "sinfo")
SBIN = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
ABSENT = [name for name in TOOLS if not shutil.which(name, path=SBIN)]
TOY = "toy/reach-v1"
SLOW, MANY = "faults/slow-v1", 50
"""Five seconds: slow enough to be stopped midway, on any machine."""

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="daemons of Slurm and munge need root here"),
]

CONFIGURATION = """\
ClusterName=fabrika
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=batch_sched_delay=0,sched_interval=1,requeue_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=100 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=urgent Nodes={host} PriorityTier=9 State=UP
"""


def free_ports(count: int) -> list[int]:
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in with_ports]
    for server in with_ports:
        server.close()
    return ports


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """What is true at last; whoever waits longer has failed."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"still not after {seconds} s"
        time.sleep(0.2)
    return found


def shell(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """One controller and one node of four pretended cores; stopped at the end."""
    # Sockets have short paths, and munged wants folders that others cannot write.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    host = socket.gethostname().split(".")[0]
    text = CONFIGURATION.format(folder=folder, host=host, ports=free_ports(2))
    (folder / "slurm.conf").write_text(text)
    before = {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
    os.environ |= {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": SBIN}
    places = {"key-file": key, "socket": "socket", "pid-file": "pid", "log-file": "log"}
    places |= {"seed-file": "seed"}
    munge = [f"--{name}={folder / 'munge' / place}" for name, place in places.items()]
    daemons = []
    try:
        with (folder / "log").open("w") as log:
            for words in (
                ["munged", "-F", "--force", *munge],
                ["slurmctld", "-D"],
                ["slurmd", "-D"],
            ):
                daemons.append(subprocess.Popen(words, stdout=log, stderr=log))
                if words[0] == "munged":
                    until((folder / "munge" / "socket").exists)
        until(lambda: "idle" in subprocess.getoutput("sinfo -h -o %T"))
        yield
    finally:
        with suppress(Exception):
            subprocess.run(["scancel", "--user=root"], check=False, timeout=10)
            until(lambda: not shell("squeue", "-h").strip(), 30)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def place(slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, with this environment's fabrika on the path of whatever is submitted."""
    binaries = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def submit(task: str, count: int, *words: str, code: int = 0) -> dict[str, Any]:
    """`fabrika submit`, as a person types it."""
    line = ["fabrika", "submit", task, "--to", "slurm", "--out", "store", "-n", str(count)]
    line += ["--workers", "1", "--run", "--json", *words]
    run = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    logs = "".join(log.read_text() for log in Path().glob("slurm-*.out"))
    assert run.returncode == code, f"{run.stdout}\n{run.stderr}\n{logs}"
    found = json.loads(run.stdout)
    assert isinstance(found, dict)
    return found


@functools.cache
def undisturbed(task: str, count: int) -> str:
    """The digest of a store that one process made, on this machine, without any cluster."""
    with tempfile.TemporaryDirectory() as folder:
        run_scenarios(task, "expert", "train", range(count), store=Path(folder) / "store")
        return Store.open(Path(folder) / "store").digest()


def rows(place: Path) -> int:
    if not (place / "store" / "index.sqlite").exists():
        return 0
    with suppress(Exception):  # between the folder and its first row
        return len(Store.open(place / "store").rows())
    return 0


def ended(job: str) -> dict[str, str]:
    """What Slurm says of a job of one share when it has ended."""

    def state() -> dict[str, str] | None:
        line = shell("scontrol", "show", "job", "-o", job).splitlines()[0]
        found = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        return found if found["JobState"] in {"COMPLETED", "FAILED", "CANCELLED"} else None

    found: dict[str, str] = until(state)
    return found


def begun(place: Path) -> str:
    """Submit a slow share, and come back in its midst; the job's id."""
    job: str = submit(SLOW, MANY)["job_id"]
    until(lambda: rows(place) >= 2)
    return job


def finish(place: Path) -> None:
    """Submit the same again; the store is then that of an undisturbed run."""
    assert 2 <= rows(place) < MANY, "it was stopped midway"
    assert ended(submit(SLOW, MANY)["job_id"])["ExitCode"] == "0:0"
    assert Store.open(place / "store").digest() == undisturbed(SLOW, MANY)


def test_shares_one_after_another_make_the_store_of_one_run(place: Path) -> None:
    found = submit(TOY, 12, "--jobs", "3", "--at-once", "1", "--wait")
    assert found["exit_code"] == 0 and found["job_id"].isdigit()
    assert len(Store.open(place / "store").rows()) == 12
    assert Store.open(place / "store").digest() == undisturbed(TOY, 12)
    assert len(list(place.glob("slurm-*.out"))) == 3


def test_shares_at_the_same_time_make_the_store_of_one_run(place: Path, faults: None) -> None:
    submit(SLOW, MANY, "--jobs", "4", "--wait")
    assert len(Store.open(place / "store").rows()) == MANY
    assert Store.open(place / "store").digest() == undisturbed(SLOW, MANY)


def test_a_share_that_is_preempted_goes_on(place: Path, faults: None) -> None:
    """Slurm stops it for a more urgent job that wants all cores, and starts it again after."""
    job = begun(place)
    shell("sbatch", "--partition=urgent", "--cpus-per-task=4", "--wrap=true", "--output=/dev/null")
    end = ended(job)
    assert (end["JobState"], end["Restarts"]) == ("COMPLETED", "1")
    log = (place / f"slurm-{job}_0.out").read_text()
    assert "stopped:" in log and "The same command goes on" in log, "the stop was clean"
    assert Store.open(place / "store").digest() == undisturbed(SLOW, MANY)


def test_a_share_that_is_stopped_ends_with_4_and_is_submitted_again(
    place: Path, faults: None
) -> None:
    """What the time limit does: a signal to the share alone, as `--signal=B:TERM@60` sends it."""
    job = begun(place)
    shell("scancel", "--batch", "--signal=TERM", f"{job}_0")
    assert ended(job)["ExitCode"] == "4:0"
    finish(place)


def test_a_job_that_is_cancelled_is_submitted_again(place: Path, faults: None) -> None:
    job = begun(place)
    shell("scancel", job)
    assert ended(job)["JobState"] == "CANCELLED"
    until(lambda: not shell("squeue", "-h").strip())
    finish(place)


def test_losses_reach_whoever_waits(place: Path, faults: None) -> None:
    """A void rollout is a loss: exit code 3, for the share and for the wait."""
    words = ("--jobs", "2", "--at-once", "1", "--wait")
    assert submit("faults/diverges-v1", 6, *words, code=3)["exit_code"] == 3
