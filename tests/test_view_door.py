"""Laws of the viewer's door: only who knows the token comes in, and only from this machine."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.client import connect

from fabrika import FabrikaError, UsageError
from fabrika.cli import main
from fabrika.lines.home.mug_to_shelf import TASK as MUG
from fabrika.lines.toy import TASK as TOY
from fabrika.view._door import Door, is_loopback, open_server


def request(path: str, host: str = "127.0.0.1:80", origin: str | None = None) -> Request:
    headers = Headers({"Host": host})
    if origin is not None:
        headers["Origin"] = origin
    return Request(path, headers)


def test_who_knows_the_token_comes_in() -> None:
    door = Door()
    for path in ("", "/", "/?darkMode", "/a/b"):
        passed = door.ask(request(f"/{door.token}{path}"))
        assert isinstance(passed, Request) and door.token not in passed.path
        assert passed.path.startswith("/")


@given(st.text(min_size=0, max_size=40))
def test_nobody_else_does(guess: str) -> None:
    door = Door()
    for path in (guess, f"/{guess}", f"/{guess}/{door.token}", f"/{door.token[:-1]}", "/"):
        assert isinstance(door.ask(request(path)), Response)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", None),  # a name that was rebound to this machine
        ("127.0.0.1.evil.example:80", None),
        ("127.0.0.1:80@evil.example", None),
        ("192.168.0.7:80", None),
        ("", None),
        ("[::1", None),
        ("127.0.0.1:80", "http://evil.example"),
        ("127.0.0.1:80", "http://127.0.0.1:81"),
        ("127.0.0.1:80", "https://127.0.0.1:80"),
        ("127.0.0.1:80", "null"),
        ("localhost:80", "http://127.0.0.1:80"),
    ],
)
def test_not_even_the_token_opens_from_elsewhere(host: str, origin: str | None) -> None:
    door = Door()
    answer = door.ask(request(f"/{door.token}/", host, origin))
    assert isinstance(answer, Response) and answer.status_code == 403


def test_two_hosts_are_none() -> None:
    door, asked = Door(), request("/")
    asked.headers["Host"] = "127.0.0.1"
    asked.path = f"/{door.token}/"
    assert isinstance(door.ask(asked), Response)


def test_a_ticket_leads_in_once() -> None:
    door = Door()
    ticket = door.ticket()
    first, second = door.ask(request(ticket)), door.ask(request(ticket))
    assert isinstance(first, Response) and first.headers["Location"] == f"/{door.token}/"
    assert isinstance(second, Response) and second.status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_only_this_machine_is_served(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UsageError, match="ssh -L"):
        open_server(host, 0, "x")


@pytest.fixture
def server() -> Iterator[tuple[Any, Door, int]]:
    server, door, place = open_server("127.0.0.1", 0, "test")
    yield server, door, int(place.rpartition(":")[2])
    server.stop()


def get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as line:
        line.request("GET", path, headers=headers)
        answer = line.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def test_the_door_stands_in_the_server_itself(server: Any, capfd: Any) -> None:
    _, door, port = server
    assert get(port, "/")[0] == 403 and get(port, "/index.html")[0] == 403
    assert get(port, f"/{door.token}/", Host="evil.example")[0] == 403
    status, headers, body = get(port, f"/{door.token}/")
    assert status == 200 and b"<html" in body.lower()
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert get(port, f"/{door.token}/../../etc/passwd")[0] == 404
    place = f"ws://127.0.0.1:{port}"
    protocols: Any = ["viser-v0"]
    for path, origin in (("/", None), (f"/{door.token}", "http://evil.example")):
        with pytest.raises(InvalidStatus) as refused:
            connect(place + path, origin=origin, subprotocols=protocols, proxy=None)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
    origin = f"http://127.0.0.1:{port}"
    with connect(f"{place}/{door.token}", origin=origin, subprotocols=protocols, proxy=None):  # type: ignore[arg-type]
        pass
    assert "http" not in capfd.readouterr().out, "only the command line tells the address"


def test_a_viser_that_takes_no_door_does_not_stay_open(monkeypatch: Any) -> None:
    monkeypatch.setattr("fabrika.view._door._served_by", lambda *_: nullcontext())
    with pytest.raises(FabrikaError, match="the page was not opened"):
        open_server("127.0.0.1", 0, "x")


def test_there_is_no_way_onto_the_internet(server: Any) -> None:
    assert server[0].request_share_url() is None


def test_a_taken_port_is_told() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port}.*--port 0"):
            open_server("127.0.0.1", port, "x")


# -- the command ---------------------------------------------------------------------------


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["view", *map(str, words)])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name a task"),
        ((MUG.name, "--episode", "runs/x:1"), "name a task"),
        (("home/mug-to-shelf-v9",), "did you mean"),
        ((TOY.name,), "no world of MuJoCo's"),
        ((MUG.name, "--host", "0.0.0.0", "--actor", "zero"), "ssh -L"),
    ],
)
def test_a_wrong_call_is_told(words: Any, told: str) -> None:
    result = call(*words)
    assert result.exit_code == 2 and told in result.stderr


def test_a_recorded_episode_is_shown_as_it_was(tmp_path: Path) -> None:
    store = tmp_path / "store"
    words = ["rollout", MUG.name, "--actor", "expert", "--split", "train", "-n", "1"]
    words += ["--workers", "1", "--out", str(store)]
    assert CliRunner().invoke(main, words).exit_code == 0
    result = call("--episode", f"{store}:0", "--no-open", "--for", 0)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("http://127.0.0.1:") and result.stdout.count("\n") == 1


def test_ctrl_c_is_how_it_ends(tmp_path: Path) -> None:
    code = "from fabrika.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", code, "view", MUG.name, "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    address = run.stdout.readline().strip()
    _, _, place, token, _ = address.split("/")
    assert get(int(place.split(":")[1]), f"/{token}/")[0] == 200
    run.terminate()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0 and out == "", err
    assert token not in err
