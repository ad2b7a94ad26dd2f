"""Who may see the page: whoever knows the token, on this machine, and no page of anyone else's.

viser serves pages and messages on one port and asks nobody anything. A proxy in front would leave
that port open beside it, so the door stands in the server itself: viser's server is started with
a check of every request, on a socket that is bound before. If viser did not take the check, it
does not stay open.
"""

from __future__ import annotations

import hmac
import http
import io
import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import viser
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from fabrika._errors import FabrikaError, UsageError

Handler = Callable[[ServerConnection, Request], Response | None]

_HEADERS = {
    # The page is one document that asks for nothing from outside, and it cannot begin to.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob: data:; "
        "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; worker-src blob: data:; "
        "connect-src 'self' {socket} blob: data:; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Door:
    """Checks one request: its host, where it comes from, and the token in its path.

    A page of another site can make a browser send requests here, and by a name that it rebinds
    to this machine it could read the answers. So the host must be this machine by its number or
    as ``localhost``, and what a page sends must come from the page of this very server.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)
        """First part of every path that is served."""
        self._ticket = secrets.token_urlsafe(24)

    def ticket(self) -> str:
        """A path that leads in once: who lists this machine's processes may read it there."""
        return f"/{self._ticket}/"

    def ask(self, request: Request) -> Request | Response:
        """The request as viser is to see it, or the answer to it."""
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1 or not is_loopback(_name(hosts[0])):
            return _refuse("this page is served to this machine alone, by its own name.")
        origins = request.headers.get_all("Origin")
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            return _refuse("a page of another site asked.")
        path = request.path.partition("?")[0]
        first, _, rest = path.removeprefix("/").partition("/")
        if self._ticket and hmac.compare_digest(first.encode(), self._ticket.encode()):
            self._ticket = ""
            headers = Headers({"Location": f"/{self.token}/", "Content-Length": "0"})
            return Response(http.HTTPStatus.FOUND, "Found", headers, b"")
        if not hmac.compare_digest(first.encode(), self.token.encode()):
            return _refuse("the address lacks the token. Open the one that fabrika printed.")
        return replace(request, path=f"/{rest}")

    def guard(self, handler: Handler) -> Handler:
        """The handler behind this door."""

        def process(connection: ServerConnection, request: Request) -> Response | None:
            asked = self.ask(request)
            answer = asked if isinstance(asked, Response) else handler(connection, asked)
            if answer is not None:
                place = f"ws://{request.headers.get('Host', 'localhost')}"
                for name, value in _HEADERS.items():
                    answer.headers[name] = value.format(socket=place)
            return answer

        return process


def is_loopback(host: str) -> bool:
    """Whether the host is this machine and no other can reach it: its number, or ``localhost``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The host's name without its port; empty for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _refuse(why: str) -> Response:
    body = f"403: {why}\n".encode()
    headers = Headers({"Content-Type": "text/plain", "Content-Length": str(len(body))})
    return Response(http.HTTPStatus.FORBIDDEN, "Forbidden", headers, body)


class _Server(viser.ViserServer):
    """viser's server, without the tunnel that would put the page on the internet."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


def open_server(host: str, port: int, label: str) -> tuple[viser.ViserServer, Door, str]:
    """A server behind a door, and its address without a path. Port 0: a free one.

    Raises `UsageError` for a host that other machines can reach, and for a port that is taken.
    """
    if not is_loopback(host):
        raise UsageError(
            f"{host!r} can be reached from other machines, and the page is served without "
            "encryption: only 127.0.0.1, ::1 and localhost are possible. From another machine: "
            "ssh -L 8080:127.0.0.1:PORT this-machine, then open the address with port 8080."
        )
    listening, door = _listen(host, port), Door()
    used: list[bool] = []
    # viser prints addresses that lead nowhere.
    with _served_by(listening, door, used), redirect_stdout(io.StringIO()):
        server = _Server(host=host, port=port, label=label, verbose=False)
    if not used:
        server.stop()
        listening.close()
        raise FabrikaError(
            f"viser {viser.__version__} starts its server in another way than the one that "
            "can be guarded, so the page was not opened. Use a version that was tested."
        )
    name = f"[{host}]" if ":" in host else host
    return server, door, f"http://{name}:{listening.getsockname()[1]}"


def close_server(server: viser.ViserServer) -> None:
    """Stop it, quietly."""
    with redirect_stdout(io.StringIO()):
        server.stop()


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        why = error.strerror or str(error)
        raise UsageError(f"port {port} of {host}: {why}. --port 0 takes a free one.") from error
    return listening


@contextmanager
def _served_by(listening: socket.socket, door: Door, used: list[bool]) -> Iterator[None]:
    """While this holds, a websocket server that is started is ours: our socket, our door."""
    module: Any = websockets.asyncio.server
    serve = module.serve

    def ours(handler: Any, host: str, port: int, **settings: Any) -> Any:
        used.append(True)
        settings["process_request"] = door.guard(settings["process_request"])
        return serve(handler, sock=listening, **settings)

    module.serve = ours
    try:
        yield
    finally:
        module.serve = serve
