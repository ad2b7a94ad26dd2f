"""Documentation is tested: it is whole, it is true, and what it tells a reader to run, runs."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import make_reference
from fabrika import _errors
from fabrika._registry import known, task
from test_style import ROOT, relative, tracked

PAGES = [path for path in tracked() if path.suffix == ".md"]
LAWS = sorted((ROOT / "docs" / "concepts").glob("[0-9]*.md"))
PACKAGES = [name for name in make_reference.PACKAGES if make_reference.exists(name)]
PUBLIC = [
    (package, public) for package in PACKAGES for public in make_reference.public_names(package)
]


def commands() -> dict[str, click.Command]:
    from fabrika.cli import main

    assert isinstance(main, click.Group)
    return dict(main.commands)


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


@pytest.mark.parametrize(
    ("package", "public"), PUBLIC, ids=[f"{package}.{public.name}" for package, public in PUBLIC]
)
def test_everything_public_is_documented(package: str, public: make_reference.Public) -> None:
    assert public.doc, f"{public.module}.{public.name} has no docstring"
    page = ROOT / "docs" / "reference" / f"{package.removeprefix('fabrika.')}.md"
    assert f"### `{public.name}`" in page.read_text(), "run `make reference`"


def test_the_reference_is_up_to_date() -> None:
    folder = ROOT / "docs" / "reference"
    written = {path.name: path.read_text() for path in folder.glob("*.md")}
    made = make_reference.pages()
    assert written.keys() == made.keys(), "run `make reference`"
    assert [name for name in made if made[name] != written[name]] == [], "run `make reference`"


def test_every_command_is_documented() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, command in commands().items():
        help_text = command.get_help(click.Context(command, info_name=f"fabrika {name}"))
        assert f"fabrika {name}" in help_text.split("\n", 2)[-1], f"{name}: --help has no example"
        assert f"`fabrika {name}" in readme, f"README does not name `fabrika {name}`"


def test_every_option_is_documented() -> None:
    for name, command in commands().items():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"fabrika {name}: {option.opts[-1]} has no help"


@pytest.mark.parametrize("page", ["README.md", "docs/reference/commands.md"])
def test_exit_codes_are_those_of_the_errors(page: str) -> None:
    found = vars(_errors).values()
    errors = [e for e in found if isinstance(e, type) and issubclass(e, _errors.FabrikaError)]
    codes = {error.exit_code for error in errors} | {0}
    table = (ROOT / page).read_text().split("## Exit codes")[1].split("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes


@pytest.mark.parametrize("name", [n for n, place in known("tasks").items() if "fabrika." in place])
def test_a_task_says_what_it_is(name: str) -> None:
    description = task(name).description
    places = [description.find(f"{part}:") for part in ("Description", "Randomisation", "Success")]
    places.append(description.find("Safety:"))
    assert -1 not in places and places == sorted(places)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        there = (page.parent / place).resolve() if place else page
        assert there.exists(), f"{relative(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_files_that_are_named_exist(page: Path) -> None:
    """A page that names a source file names one that is there."""
    if page.name == "CHANGELOG.md":
        return
    stated = re.findall(r"`([\w/.-]+\.(?:py|sh|toml|lock|in))`", page.read_text())
    own = re.findall(r"<!-- file: (\S+) -->", page.read_text())
    have = {relative(path) for path in tracked()} | set(own)
    for name in stated:
        assert any(f"/{path}".endswith(f"/{name}") for path in have), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_names_of_the_code_exist(page: Path) -> None:
    """`fabrika.thing` and `fabrika.thing.name` in a page can be imported."""
    import pkgutil

    for name in re.findall(r"`(fabrika(?:\.\w+)+)`", page.read_text()):
        assert pkgutil.resolve_name(name) is not None
    for words in re.findall(r"`fabrika ([a-z]+)", page.read_text()):
        assert words in commands(), f"{page.name}: there is no command `fabrika {words}`"


def test_there_is_a_page_for_each_law() -> None:
    """The eleven laws of the architecture, each on one short page that names the code."""
    assert [path.name[:2] for path in LAWS] == [f"{number:02}" for number in range(1, 12)]
    index = (ROOT / "docs" / "README.md").read_text()
    for law in LAWS:
        assert law.name in index
        assert re.search(r"`_\w+\.py`|`fabrika", law.read_text()), f"{law.name} names no code"
        assert len(law.read_text().splitlines()) <= 60, f"{law.name} is long"


def test_the_changelog_knows_the_version() -> None:
    assert f"## {version()}" in (ROOT / "CHANGELOG.md").read_text()
    assert (
        version() in (ROOT / "SECURITY.md").read_text()
        or "0.x" in (ROOT / "SECURITY.md").read_text()
    )


def runnable() -> list[tuple[str, str]]:
    """Shell blocks under a ``<!-- run -->`` comment, wherever they stand."""
    pattern = re.compile(r"<!-- run -->\n```(?:sh|console)\n(.*?)```", re.DOTALL)
    return [(relative(p), block) for p in PAGES for block in pattern.findall(p.read_text())]


@pytest.mark.parametrize(("page", "block"), runnable(), ids=lambda text: str(text)[:20])
def test_blocks_that_are_marked_run(page: str, block: str, tmp_path: Path) -> None:
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-euc", "\n".join(lines)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, f"{page}:\n{run.stdout}\n{run.stderr}"


def test_the_readme_has_blocks_that_run() -> None:
    assert any(page == "README.md" for page, _ in runnable())


def test_the_first_task_works_as_the_guide_says(tmp_path: Path) -> None:
    """Every file of the guide, written to disk and installed, passes what the guide runs."""
    guide = (ROOT / "docs" / "guides" / "your-first-task.md").read_text()
    files = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", guide, re.DOTALL)
    blocks = re.findall(r"<!-- run in the package -->\n```sh\n(.*?)```", guide, re.DOTALL)
    assert len(files) == 4 and blocks
    for name, text in files:
        (tmp_path / "package" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "package" / name).write_text(text)
    # Installed into a folder of its own, so that this environment stays as it is.
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    install += [
        "--no-build-isolation",
        "--target",
        str(tmp_path / "site"),
        str(tmp_path / "package"),
    ]
    subprocess.run(install, check=True, capture_output=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "site"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for block in blocks:
        run = subprocess.run(
            ["bash", "-euc", block], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, f"{block}\n{run.stdout}\n{run.stderr}"
