"""The command line. This package, and no other part of Fabrika, prints."""

from __future__ import annotations

import click

from fabrika.cli._care import merge, repair, split, verify
from fabrika.cli._data import export, train
from fabrika.cli._episodes import generate, rollout, validate
from fabrika.cli._errors import Program
from fabrika.cli._extend import extend
from fabrika.cli._gallery import gallery
from fabrika.cli._inspect import bench, check, doctor, show
from fabrika.cli._ledger import ledger
from fabrika.cli._line import run
from fabrika.cli._listing import list_
from fabrika.cli._new import new
from fabrika.cli._replay import replay
from fabrika.cli._submit import submit
from fabrika.cli._trash import delete, restore, trash
from fabrika.cli._view import view

__all__ = ["main"]


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fabrika", message="%(prog)s %(version)s")
def main() -> None:
    """From a robot, a task and a seed to a gated policy.

    \b
    Example: fabrika run toy/reach-v1

    Data goes to stdout, progress and messages to stderr. Exit codes: 0 done, 2 usage, 3 done with
    losses, 4 interrupted (run the same command to go on), 5 gate failed, 6 integrity,
    7 resources, 8 busy. FABRIKA_DEBUG=1 adds the traceback of an error.

    What was interrupted, killed or cut off goes on by the same command; on another machine, at the
    same time, it helps. docs/guides/nothing-lost.md tells how.
    """


SECTIONS = {
    "Make and prove": (new, run, rollout, generate, train, validate, show, view),
    "Data": (export, verify, replay),
    "Many machines, nothing lost": (
        submit,
        extend,
        repair,
        merge,
        split,
        ledger,
        delete,
        restore,
        trash,
    ),
    "Look": (list_, gallery, check, bench, doctor),
}
"""The commands, as --help shows them."""

for section, commands in SECTIONS.items():
    for command in commands:
        main.add_command(command)
        main.sections.setdefault(section, []).append(str(command.name))
