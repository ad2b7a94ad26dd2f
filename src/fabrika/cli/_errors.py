"""From errors to one clear message and a published exit code."""

from __future__ import annotations

import errno
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from fabrika._errors import (
    FabrikaError,
    IntegrityError,
    InterruptedRunError,
    ResourceError,
    UsageError,
)
from fabrika.cli._console import emit, say

GO_ON = "run the same command to go on"
LOSSES, GATE_FAILED, INTEGRITY, RESOURCES = 3, 5, 6, 7

_EXTRAS = {
    "torch": "learn",
    "safetensors": "learn",
    "onnx": "learn",
    "onnxruntime": "learn",
    "pyarrow": "data",
    "av": "data",
    "mujoco": "sim",
    "PIL": "sim",
    "matplotlib": "release",
    "jinja2": "release",
    "ray": "ray",
    "viser": "view",
    "trimesh": "view",
    "websockets": "view",
}


class Program(click.Group):
    """A group of commands that ends with one message and a published exit code."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self.sections: dict[str, list[str]] = {}
        """Names of commands, by the heading that they stand under."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a newcomer meets them, not the alphabet's."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each section under its heading."""
        limit = formatter.width - 6 - max(map(len, self.commands), default=0)
        for section, names in self.sections.items():
            with formatter.section(section):
                rows = [(name, self.commands[name].get_short_help_str(limit)) for name in names]
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; whatever goes wrong is told once, with the next step."""
        as_json = "--json" in ctx.args
        stopped: list[int] = []
        try:
            with _interruptible(stopped):
                return super().invoke(ctx)
        except click.UsageError as error:
            if as_json:
                _emit_error("UsageError", error.format_message(), 2)
            raise
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
                raise
            if os.environ.get("FABRIKA_DEBUG") == "1":
                traceback.print_exc()
            # What breaks after Ctrl-C broke of it: an import that was cut short, say.
            ours = isinstance(error, FabrikaError)
            known = explain(KeyboardInterrupt() if stopped and not ours else error)
            if as_json:
                _emit_error(type(known).__name__, str(known), known.exit_code)
            say(f"fabrika: {known}")
            raise click.exceptions.Exit(known.exit_code) from error


def explain(error: BaseException) -> FabrikaError:
    """The error as one of the published tree, with a next step."""
    if isinstance(error, InterruptedRunError | KeyboardInterrupt):
        words = str(error).rstrip(".") or "stopped"
        again = "" if "same command" in words else f"; {GO_ON}"
        return InterruptedRunError(f"{words}{again}.")
    if isinstance(error, IntegrityError) and "repair" not in str(error):
        return IntegrityError(f"{error} `fabrika verify` finds all damage, `repair` mends stores.")
    if isinstance(error, FabrikaError):
        return error
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _EXTRAS:
        extra = _EXTRAS[(error.name or "").split(".")[0]]
        return ResourceError(
            f"this needs {error.name}, which is not installed: pip install 'fabrika[{extra}]'."
        )
    if isinstance(error, MemoryError):
        return ResourceError("out of memory: use fewer --workers, then run the same command again.")
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return ResourceError(f"no space left on the disk{where}: free some, then {GO_ON}.")
        return UsageError(f"{error.strerror or error}{where}.")
    unexpected = FabrikaError(
        f"unexpected {type(error).__name__}: {error}. This is a defect: FABRIKA_DEBUG=1 shows "
        "where; please report it."
    )
    return unexpected


def _emit_error(kind: str, message: str, code: int) -> None:
    emit({"error": {"kind": kind, "message": message, "exit_code": code}})


@contextmanager
def _interruptible(stopped: list[int]) -> Iterator[None]:
    """SIGTERM stops as cleanly as Ctrl-C does; ``stopped`` takes the numbers of both."""

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody's own
        heard.append(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
