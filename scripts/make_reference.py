"""Writes docs/reference from the code: the API, the commands, the tasks and their signals.

Run as ``make reference``. The output depends on the code alone; a test holds it up to date.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "fabrika"
PACKAGES = {
    "fabrika": "The core: everything that a task or a plug-in needs. NumPy only.",
    "fabrika.testing": "The conformance kit: what `fabrika check` runs.",
    "fabrika.sim": "MuJoCo worlds: robots, scenes, sensors, cameras, kinematics.",
    "fabrika.data": "Datasets: out as LeRobot v3, and a strict checker for any of them.",
    "fabrika.learn": "Policies and their training; one file becomes an actor.",
    "fabrika.view": "An episode in the browser.",
    "fabrika.cluster": "Jobs for shared clusters, all into one store.",
    "fabrika.release": "What a person sees: the report, videos and plots.",
}
EXIT_CODES = {
    0: "done",
    1: "a defect of Fabrika or of a plug-in",
    2: "usage",
    3: "done with losses",
    4: "interrupted and resumable",
    5: "gate failed",
    6: "integrity",
    7: "resources",
    8: "busy",
}
NOTE = (
    "<!-- Written by scripts/make_reference.py. Change the docstrings, then `make reference`. -->"
)

Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Public:
    """One public name, where it is defined, and what is said of it there."""

    name: str
    module: str
    node: Definition
    doc: str


def tree_of(module: str) -> ast.Module:
    """The parsed source of a module or package."""
    path = SOURCE.parent / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text())


def exported(module: str) -> list[str]:
    """The names in ``__all__``, or all public definitions of a module without one."""
    tree = tree_of(module)
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return sorted(ast.literal_eval(node.value))
    return sorted(name for name, _, _ in defined(tree) if not name.startswith("_"))


def defined(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, Definition, str]]:
    """Name, node and docstring of everything defined in a body, in its order."""
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=False):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node, ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            # A string under an assignment is its docstring.
            text = after.value if isinstance(after, ast.Expr) else None
            doc = str(text.value) if isinstance(text, ast.Constant) else ""
            if isinstance(target, ast.Name):
                yield target.id, node, inspect.cleandoc(doc)


def find(package: str, name: str) -> Public:
    """Where a public name is defined: in the package, or in a module it imports from."""
    places = {package: None}
    for node in ast.walk(tree_of(package)):
        if isinstance(node, ast.ImportFrom) and name in [a.asname or a.name for a in node.names]:
            places[f"{node.module}"] = None
    folder = SOURCE.parent / Path(*package.split("."))
    for file in sorted(folder.glob("*.py")):  # a package may import lazily, by name
        places[f"{package}.{file.stem}"] = None
    for module in places:
        if not module.endswith("__init__"):
            for found, node, doc in defined(tree_of(module)):
                if found == name:
                    return Public(name, module, node, doc)
    raise LookupError(f"{package} exports {name!r}, which none of {sorted(places)} defines.")


def public_names(package: str) -> list[Public]:
    """Everything that a package exports, in order of its modules."""
    found = [find(package, name) for name in exported(package) if not name.startswith("__")]
    return sorted(found, key=lambda public: (public.module, public.node.lineno))


def markdown(doc: str) -> str:
    """A docstring as Markdown: literal blocks fenced, double backticks single."""
    doc = re.sub(
        r"::\n\n((?:    .*\n?|\n)+)",
        lambda match: f"```text\n{inspect.cleandoc(match.group(1))}\n```\n\n",
        re.sub(r"(?<=\w)::\n", ":\n\n::\n", inspect.cleandoc(doc)),
    )
    return re.sub(r"``(.+?)``", r"`\1`", doc).strip()


def signature(node: ast.FunctionDef) -> str:
    """``name(arguments) -> result``, without the object itself."""
    arguments = re.sub(r"^(self|cls)(, |$)", "", ast.unparse(node.args))
    return f"{node.name}({arguments})" + (
        f" -> {ast.unparse(node.returns)}" if node.returns else ""
    )


def wrapped(node: ast.FunctionDef) -> str:
    """The signature, one argument a line where it is long."""
    line, arguments = signature(node), ast.unparse(node.args)
    if len(line) <= 88:
        return line
    result = line.removeprefix(f"{node.name}({arguments})")
    parts = re.split(r", (?![^\[(]*[\])])", arguments)
    return f"{node.name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def describe(public: Public) -> str:
    """The section of one public name."""
    node, doc = public.node, markdown(public.doc)
    if isinstance(node, ast.FunctionDef):
        return f"### `{public.name}`\n\n```python\n{wrapped(node)}\n```\n\n{doc}\n"
    if not isinstance(node, ast.ClassDef):
        value = ast.unparse(node)
        if len(value) > 88:  # a table of data is read better where it stands
            value = f"{value.split('=')[0].strip()} = ..."
        return f"### `{public.name}`\n\n```python\n{value}\n```\n\n{doc}\n"
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    text = f"### `{public.name}`\n\n```python\nclass {public.name}({bases})\n```\n\n{doc}\n"
    return text.replace("()\n```", "\n```", 1) + "".join(members(node))


def members(node: ast.ClassDef) -> Iterator[str]:
    """The public fields, then the public methods, of a class."""
    for name, member, doc in defined(node):
        if not name.startswith("_") and isinstance(member, ast.Assign | ast.AnnAssign):
            yield f"\n- `{ast.unparse(member)}`" + (f"  \n  {markdown(doc)}" if doc else "")
    yield "\n"
    for name, member, doc in defined(node):
        if not isinstance(member, ast.FunctionDef):
            continue
        decorators = {ast.unparse(item) for item in member.decorator_list}
        if decorators & {"property", "cached_property"}:
            kind = f" -> {ast.unparse(member.returns)}" if member.returns else ""
            head = f"`{name}{kind}` (property)"
        else:
            head = f"`{signature(member)}`"
        wanted = name == "__init__" and len(member.args.args) > 1
        if wanted or not name.startswith("_"):
            yield f"\n**{head}**" + (f"  \n{markdown(doc)}" if doc else "") + "\n"


def package_page(package: str) -> str:
    """The reference of one package."""
    lines = [NOTE, f"# `{package}`\n", PACKAGES[package] + "\n"]
    intro = ast.get_docstring(tree_of(package)) or ""
    lines += [markdown(intro) + "\n"]
    lines += [describe(public) for public in public_names(package)]
    return "\n".join(lines)


def commands_page() -> str:
    """Every command's own help, and the exit codes."""
    from fabrika.cli import main

    lines = [NOTE, "# Commands\n", f"```text\n{context_of(main).get_help()}\n```\n"]
    for name, context in walk(context_of(main)):
        lines += [f"## `fabrika {name}`\n", f"```text\n{context.get_help()}\n```\n"]
    return "\n".join([*lines, exit_codes()])


def context_of(
    command: click.Command, name: str = "fabrika", parent: click.Context | None = None
) -> click.Context:
    """What a command is called in, at a width that does not depend on the terminal."""
    settings = {"terminal_width": 88, "max_content_width": 88, **command.context_settings}
    return click.Context(command, info_name=name, parent=parent, **settings)


def walk(context: click.Context, prefix: str = "") -> Iterator[tuple[str, click.Context]]:
    """Every command below a group, by what one types: "list", "list tasks"."""
    assert isinstance(context.command, click.Group)
    for name, command in sorted(context.command.commands.items()):
        below = context_of(command, name, context)
        yield f"{prefix}{name}", below
        if isinstance(command, click.Group):
            yield from walk(below, f"{prefix}{name} ")


def exit_codes() -> str:
    """The table of exit codes: the published meanings, and the errors that carry each."""
    from fabrika import _errors

    errors: dict[int, list[str]] = {code: [] for code in EXIT_CODES}
    for error in vars(_errors).values():
        if inspect.isclass(error) and issubclass(error, _errors.FabrikaError):
            errors[error.exit_code].append(f"`{error.__name__}`")
    lines = ["## Exit codes\n", "| code | meaning | errors |", "|---|---|---|"]
    rows = (f"| {code} | {EXIT_CODES[code]} | {', '.join(errors[code])} |" for code in EXIT_CODES)
    return "\n".join([*lines, *rows]) + "\n"


def tasks_page() -> str:
    """Every built-in task: its docstring, its checks, and the signals of its world."""
    from fabrika._registry import task

    lines = [NOTE, "# Tasks\n"]
    installed = {point.name: point.value for point in entry_points(group="fabrika.tasks")}
    for name, place in sorted(installed.items()):
        if not place.startswith("fabrika."):  # somebody's plug-in, installed beside this one
            continue
        found = task(name)
        lines += [f"## {name}\n", markdown(found.description) + "\n"]
        lines += [f"Longest episode: {found.horizon:g} s. Instructions in training:"]
        lines += [", ".join(f"“{words}”" for words in found.instructions) + "."]
        lines += [f"Held out: {', '.join(f'“{w}”' for w in found.held_out_instructions)}.\n"]
        lines += ["| check | kind | unit | at least | at most |", "|---|---|---|---|---|"]
        for check in found.checks:
            limits = " | ".join(map(number, (check.at_least, check.at_most)))
            lines += [f"| `{check.name}` | {check.kind} | {check.unit} | {limits} |"]
        world = found.build()
        try:
            lines += ["\n**Observes**\n", *signal_rows(world.observes)]
            lines += ["\n**Acts**\n", *signal_rows(world.acts), ""]
        finally:
            world.close()
    return "\n".join(lines)


def home_pages_page() -> str:
    """What a task's page of YAML may say: its keys, predicates, fixtures and things."""
    from fabrika.lines.home._goals import PREDICATES
    from fabrika.lines.home._page import KEYS, THING_KEYS
    from fabrika.sim import FIXTURES, categories

    lines = [NOTE, "# Pages of YAML\n", "What may stand in a task that is one page.\n"]
    for title, keys in (("Keys of a page", KEYS), ("Keys of a thing", THING_KEYS)):
        lines += [f"## {title}\n", "| key | what it says |", "|---|---|"]
        rows = {key: words.replace("|", "\\|") for key, words in keys.items()}
        lines += [f"| `{key}` | {words} |" for key, words in rows.items()]
        lines += [""]
    lines += ["## Predicates\n", "| predicate | when it holds |", "|---|---|"]
    for name, predicate in PREDICATES.items():
        doc = markdown((predicate.__doc__ or "").strip()).replace("\n", " ")
        arguments = ", ".join(map(str, inspect.signature(predicate).parameters))
        lines += [f"| `{name}({arguments})` | {doc} |"]
    lines += ["\n## Fixtures\n", "A fixture of the name `fridge` has the spot `fridge.upper`.\n"]
    lines += ["| kind | spots, to stand on | spaces, to be inside of | parts, to open or press |"]
    lines += ["|---|---|---|---|"]
    lines += [fixture_row(kind) for kind in FIXTURES]
    lines += ["\nThings cannot start on spots in brackets: these are in what moves.\n"]
    lines += ["## Things\n", "| category | instances |", "|---|---|"]
    for name, instances in categories().items():
        lines += [f"| `{name}` | {', '.join(f'`{instance}`' for instance in instances)} |"]
    return "\n".join(lines)


def fixture_row(kind: str) -> str:
    """What one kind of fixture has."""
    import numpy as np

    from fabrika.sim import build_fixture, draw_fixture

    built = build_fixture(kind, draw_fixture(np.random.default_rng(0), kind))
    spots = [f"`{s.name}`" if s.body == kind else f"(`{s.name}`)" for s in built.spots]
    spaces = [f"`{space.name}`" for space in built.spaces]
    parts = [f"`{part.joint}`" for part in built.parts]
    return f"| `{kind}` | {' | '.join(', '.join(names) for names in (spots, spaces, parts))} |"


def signal_rows(signals: object) -> list[str]:
    """A table of signals."""
    from fabrika._signals import Signal

    rows = ["| signal | shape | dtype | unit | low | high | |", "|---|---|---|---|---|---|---|"]
    assert hasattr(signals, "items")
    for name, signal in sorted(signals.items()):
        assert isinstance(signal, Signal)
        kind = "truth" if signal.truth else "sensor"
        limits = " | ".join(map(number, (signal.low, signal.high)))
        rows += [
            f"| `{name}` | {signal.shape} | {signal.dtype} | {signal.unit} | {limits} | {kind} |"
        ]
    return rows


def number(value: float | None) -> str:
    """A limit, short; nothing for none."""
    return "" if value is None or abs(value) == float("inf") else f"{value:.4g}"


def pages() -> dict[str, str]:
    """File name to text, for all of docs/reference."""
    names = [package for package in PACKAGES if exists(package)]
    made = {f"{name.removeprefix('fabrika.')}.md": package_page(name) for name in names}
    made["commands.md"], made["tasks.md"] = commands_page(), tasks_page()
    made["pages.md"] = home_pages_page()
    index = [NOTE, "# Reference\n", "Written from the code; `make test` fails while it is stale.\n"]
    index += [f"- [`{n}`]({n.removeprefix('fabrika.')}.md): {PACKAGES[n]}" for n in names]
    index += ["- [Commands](commands.md) and exit codes", "- [Tasks](tasks.md): checks and signals"]
    index += ["- [Pages of YAML](pages.md): keys, predicates, fixtures, things"]
    made["README.md"] = "\n".join(index)
    return {name: re.sub(r"\n{3,}", "\n\n", text).strip() + "\n" for name, text in made.items()}


def exists(module: str) -> bool:
    """Whether the source of a module is here."""
    path = SOURCE.parent / Path(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write all pages, and remove those that are no longer made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reference")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    made = pages()
    for stale in {file.name for file in out.glob("*.md")} - made.keys():
        (out / stale).unlink()
    for name, text in made.items():
        (out / name).write_text(text)


if __name__ == "__main__":
    main()
