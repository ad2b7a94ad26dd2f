"""Laws of the executor on Ray: the same bits as any other, whatever dies, and no open door."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fabrika import BrokenWorldError, ContractError, Store, UsageError, VersionError, run_scenarios
from fabrika._pool import Job
from fabrika._result import Result
from fabrika.cli import main
from fabrika.cluster import _trust
from fabrika.cluster._desk import LONGEST, Desk, absolute, footing_of
from fabrika.cluster._trust import cluster_address
from faults import planted

ROOT = Path(__file__).resolve().parent.parent
TOY = "toy/reach-v1"


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Ray on this machine, with two CPUs, and the planted faults on its workers."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    from fabrika.cluster import _session

    with planted(tmp_path_factory.mktemp("faults")) as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        module = _session.join(2)
        yield module
        _session.leave(module)


def marks(pattern: str) -> list[str]:
    return sorted(path.name for path in Path(os.environ["FAULTS_FOLDER"]).glob(pattern))


def run_into(path: Path, indices: Sequence[int], name: str = TOY, **how: Any) -> str:
    run_scenarios(name, "expert", "train", indices, store=path, **how)
    with Store.open(path) as store:
        return store.digest()


# The same bits


def test_ray_gives_the_same_store_as_any_other(ray: Any, tmp_path: Path) -> None:
    indices = list(range(9))
    shuffled = random.Random(0).sample(indices, len(indices))
    golden = run_into(tmp_path / "serial", indices)
    assert run_into(tmp_path / "pool", indices, workers=2) == golden
    assert run_into(tmp_path / "ray1", indices, executor="ray") == golden
    assert run_into(tmp_path / "ray2", shuffled, executor="ray", workers=2) == golden


def test_a_policy_and_a_store_may_be_named_from_here(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers have another working directory: relative paths are made whole for them."""
    monkeypatch.chdir(tmp_path)
    Path("policy.follow").write_text("0.25")
    how: dict[str, Any] = {"executor": "ray", "store": Path("s")}
    results = run_scenarios(TOY, "policy.follow", "validate", range(3), **how)
    assert all(result.digest for result in results)
    with Store.open(tmp_path / "s") as store:
        assert all(store.episode(result).length == result.length for result in results)


def test_a_page_is_found_in_the_folder_of_who_began(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fabrika.lines.home.pages import START

    (tmp_path / "tasks").mkdir()
    page = START.read_text().replace("TASK", "home/mine-v1") + "horizon: 2\n"
    (tmp_path / "tasks" / "mine.yaml").write_text(page)
    monkeypatch.delenv("FABRIKA_TASKS", raising=False)
    monkeypatch.chdir(tmp_path)
    (here,) = run_scenarios("home/mine-v1", "zero", "train", [0])
    (there,) = run_scenarios("home/mine-v1", "zero", "train", [0], executor="ray")
    assert here.to_json(timed=False) == there.to_json(timed=False)


def test_work_in_hand_is_about_a_second_and_bounded(ray: Any) -> None:
    from fabrika.cluster._ray import MOST, RayExecutor

    executor = RayExecutor(Job(task=TOY, actor="zero", split="train"), workers=1)
    try:
        assert executor.room == 0, "nothing is given to a worker that has not begun"
        todo, most, done = list(range(200)), 0, 0
        while done < 200:
            executor.give([todo.pop() for _ in range(min(executor.room, len(todo)))])
            most = max(most, sum(len(worker.given) for worker in executor._workers))
            answers = executor.take(0.25)
            assert all(isinstance(answer, Result) for answer in answers)
            done += len(answers)
        assert 2 < most <= MOST
        executor._seconds = 5.0
        assert executor.room == 1, "long scenarios: one at a time, so that a crash costs one"
    finally:
        executor.close()


# Plain data only


def test_only_short_text_crosses(tmp_path: Path) -> None:
    job = Job(task=TOY, actor="expert", split="train")
    desk = Desk()
    assert json.loads(desk.run("0"))["error"] == "UsageError", "it was never begun"
    said = [desk.begin(job.to_json(), footing_of(job)), desk.run("3"), desk.pulse()]
    assert said[0] == "null" and int(said[2]) > 0
    assert [type(text) for text in said] == [str] * 3 and max(map(len, said)) < LONGEST
    again = Result.from_json(json.loads(said[1])["result"])
    (serial,) = run_scenarios(TOY, "expert", "train", [3])
    assert again.to_json(timed=False) == serial.to_json(timed=False)
    changed = json.dumps({**json.loads(footing_of(job)), "numpy": "0.9"})
    answer = json.loads(Desk().begin(job.to_json(), changed))
    assert answer["error"] == VersionError.__name__ and "numpy" in answer["message"]
    elsewhere = Job(task=TOY, actor="expert", split="train", store=tmp_path / "none")
    answer = json.loads(Desk().begin(elsewhere.to_json(), footing_of(elsewhere)))
    assert answer["error"] == UsageError.__name__ and "all of them have" in answer["message"]
    assert absolute(elsewhere) == elsewhere


def test_a_workers_error_is_the_same_here(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"KeyError in scenario \d of train: 'planted'"):
        run_into(tmp_path / "s", range(4), "faults/bug-v1", executor="ray", workers=2)


# Whatever dies


def test_a_worker_that_dies_is_replaced(
    ray: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    how: dict[str, Any] = {"executor": "ray", "workers": 2}
    digest = run_into(tmp_path / "s", range(8), "faults/dies-once-v1", **how)
    assert marks("died-*") == ["died-1", "died-4"]
    assert run_into(tmp_path / "t", range(8), "faults/dies-once-v1") == digest
    assert capfd.readouterr().out == "", "Ray's own words stay off stdout"


def test_a_scenario_that_kills_every_worker_is_named(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(BrokenWorldError, match=r"5 workers died .* in scenario 1 of train"):
        run_into(tmp_path / "s", [0, 1, 2], "faults/dies-v1", executor="ray")
    with Store.open(tmp_path / "s") as store:
        assert 1 not in {row.index for row in store.rows()}


def test_a_worker_that_hangs_is_replaced(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fabrika.cluster import RayExecutor

    def hasty(name: str, job: Job, workers: int) -> RayExecutor:
        return RayExecutor(job, workers, stall=4.0)

    monkeypatch.setattr("fabrika._run.make_executor", hasty)
    began = time.monotonic()
    digest = run_into(tmp_path / "s", range(3), "faults/hangs-once-v1", executor="ray")
    assert time.monotonic() - began < 4.0 + 30.0
    assert marks("hung-*") == ["hung-1"]
    assert run_into(tmp_path / "t", range(3), "faults/hangs-once-v1") == digest


DRIVER = """
import sys
from pathlib import Path
from fabrika import run_scenarios
run_scenarios("faults/worked-v1", "expert", "train", range(14), executor="ray", workers=2,
              store=Path(sys.argv[1]), on_result=lambda result: print(result.index, flush=True))
"""


def test_a_driver_that_is_killed_can_be_continued(ray: Any, tmp_path: Path) -> None:
    """By another, in another session of the same cluster. Its workers end with it."""
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "s")],
        stdout=subprocess.PIPE,
        env={**os.environ, "RAY_ADDRESS": address},
        text=True,
        start_new_session=True,
    )
    assert driver.stdout is not None
    for _ in range(5):
        assert driver.stdout.readline().strip().isdigit()
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    with Store.open(tmp_path / "s") as store:
        kept = len(store.rows())
    assert 5 <= kept < 14
    digest = run_into(tmp_path / "s", range(14), "faults/worked-v1", executor="ray", workers=2)
    assert len(marks("worked-*")) - 14 <= 2 * 2, "no more than was in the workers' hands"
    assert run_into(tmp_path / "t", range(14), "faults/worked-v1") == digest


# The command line


@pytest.mark.parametrize(
    "words",
    [
        "rollout toy/reach-v1 --actor zero --split train -n 2",
        "generate toy/reach-v1 -n 2 --out demos",
        "validate policy.follow toy/reach-v1 -n 60",
        "run toy/reach-v1 --episodes 2 -n 60",
    ],
)
def test_every_command_that_rolls_out_takes_an_executor(
    faults: None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def watch(*_: object, executor: str, **__: object) -> None:
        asked.append((executor, os.environ.get(_trust.TRUST, "")))
        raise UsageError("enough")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(_trust.TRUST, "")  # so that it is put back
    monkeypatch.setattr("fabrika._run.run_scenarios", watch)
    Path("policy.follow").write_text("0.25")
    CliRunner().invoke(main, [*words.split(), "--executor", "ray"])
    CliRunner().invoke(main, [*words.split(), "--executor", "pool", "--i-trust-this-network"])
    assert asked == [("ray", ""), ("pool", "1")]


def test_an_unknown_executor_is_told_with_what_exists(faults: None) -> None:
    words = "rollout toy/reach-v1 --actor zero --split train -n 1 --executor rya"
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 2
    assert "no executor 'rya'; did you mean 'ray'? Known: pool, ray, serial" in result.output


# No open door


@pytest.mark.parametrize("address", ["10.1.2.3:6379", "ray.example:6379", "auto", "[fe80::1]:6379"])
def test_a_remote_cluster_that_asks_for_no_token_is_refused(address: str) -> None:
    """Before it is contacted, and before Ray is imported."""
    code = (
        "import sys; from fabrika import *\n"
        "from fabrika.cluster import RayExecutor\n"
        "from fabrika._pool import Job\n"
        "try: RayExecutor(Job(task='toy/reach-v1', actor='zero', split='train'), 1)\n"
        "except UsageError as e: print('ray' in sys.modules, e)"
    )
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", _trust.TRUST))}
    env = {**quiet, "RAY_ADDRESS": address}
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith(f"False RAY_ADDRESS={address}: the cluster asks nobody")
    assert "--i-trust-this-network" in run.stdout


def test_what_makes_a_cluster_acceptable() -> None:
    far = {"RAY_ADDRESS": "10.1.2.3:6379"}
    assert cluster_address({**far, "RAY_AUTH_MODE": "token"}) == far["RAY_ADDRESS"]
    assert cluster_address({**far, _trust.TRUST: "1"}) == far["RAY_ADDRESS"]
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert cluster_address({"RAY_ADDRESS": f"{host}:6379"}) == f"{host}:6379"
    for wrong in ({"RAY_AUTH_MODE": "disabled"}, {_trust.TRUST: "0"}, {"RAY_AUTH_TOKEN": "x"}):
        with pytest.raises(UsageError):
            cluster_address({**far, **wrong})
    with pytest.raises(UsageError, match="Ray client"):
        cluster_address({"RAY_ADDRESS": "ray://127.0.0.1:10001", _trust.TRUST: "1"})


def test_a_cluster_that_is_started_here_asks_for_a_token() -> None:
    mine: dict[str, str] = {}
    assert cluster_address(mine) == "local"
    assert len(mine["RAY_AUTH_TOKEN"]) == 64
    again: dict[str, str] = {"RAY_ADDRESS": "local"}
    cluster_address(again)
    assert again["RAY_AUTH_TOKEN"] == mine["RAY_AUTH_TOKEN"], "Ray reads it once in a process"
    given = {"RAY_AUTH_TOKEN_PATH": "token"}
    cluster_address(given)
    assert "RAY_AUTH_TOKEN" not in given


def test_rays_doors_are_on_loopback_and_ask_for_a_token(ray: Any) -> None:
    """Every socket that listens belongs to 127.0.0.1, for all processes of the cluster."""
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
    ours = {inode for pid in _session_processes() for inode in _sockets(pid)}
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in ours:
                listening.append(fields[1].partition(":")[0])
    assert len(listening) >= 3
    assert {host[-8:] for host in listening} == {"0100007F"}


def test_a_token_is_not_taken_for_a_closed_door(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that answers a stranger is refused, whatever token is set here."""
    address = ray.get_runtime_context().gcs_address
    monkeypatch.setattr(_trust, "_is_loopback", lambda _: False)
    _trust.require_closed(address)  # it is asked, and sends the stranger away
    monkeypatch.setattr(sys, "executable", "/bin/true")  # what answers everybody
    _trust.require_closed(address, {_trust.TRUST: "1"})
    with pytest.raises(UsageError, match="asks nobody for a token"):
        _trust.require_closed(address)


def _session_processes() -> list[int]:
    """The cluster's processes: those that have its token."""
    token = f"RAY_AUTH_TOKEN={os.environ['RAY_AUTH_TOKEN']}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if token in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _sockets(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = os.readlink(link)  # noqa: PTH115 (Path.readlink wants a path, not a socket)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def test_it_is_an_installed_executor() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["fabrika.executors"]
    assert points["ray"] == "fabrika.cluster:RayExecutor"
    code = "import sys, fabrika.cluster; print('ray' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False", "Ray is imported when an executor is made"
