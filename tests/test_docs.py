"""Documentation is tested: it is whole, it is true, and what it tells a reader to run, runs."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import click
import pytest

import make_reference
from fabrika import _errors
from fabrika._registry import PluginKind, known, task
from test_style import ROOT, declared, relative, tracked

PAGES = [path for path in tracked() if path.suffix == ".md"]
LAWS = sorted((ROOT / "docs" / "concepts").glob("[0-9]*.md"))
PACKAGES = [name for name in make_reference.PACKAGES if make_reference.exists(name)]
PUBLIC = [
    (package, public) for package in PACKAGES for public in make_reference.public_names(package)
]


def commands() -> dict[str, click.Context]:
    """Every command by what one types after ``fabrika``, groups and their own commands."""
    from fabrika.cli import main

    return dict(make_reference.walk(make_reference.context_of(main)))


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
    reference = (ROOT / "docs" / "reference" / "commands.md").read_text()
    for name, context in commands().items():
        help_text = context.get_help()
        assert f"Example: fabrika {name}" in help_text, f"{name}: --help has no example"
        assert f"## `fabrika {name}`" in reference, "run `make reference`"
        assert f"`fabrika {name.split()[0]}" in readme, f"README does not name `fabrika {name}`"


def test_every_option_is_documented() -> None:
    for name, context in commands().items():
        for option in context.command.params:
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

    groups = {f"fabrika.{kind}" for kind in (*get_args(PluginKind), "finders")}
    for name in set(re.findall(r"`(fabrika(?:\.\w+)+)`", page.read_text())) - groups:
        assert pkgutil.resolve_name(name) is not None
    for word in re.findall(r"`fabrika ([a-z]+)", page.read_text()):
        assert word in commands(), f"{page.name}: there is no command `fabrika {word}`"


def test_there_is_a_page_for_each_law() -> None:
    """The eleven laws of the architecture, each on one short page that names the code."""
    assert [path.name[:2] for path in LAWS] == [f"{number:02}" for number in range(1, 12)]
    index = (ROOT / "docs" / "README.md").read_text()
    for law in LAWS:
        assert law.name in index
        assert re.search(r"`_\w+\.py`|`fabrika", law.read_text()), f"{law.name} names no code"
        assert len(law.read_text().splitlines()) <= 60, f"{law.name} is long"


def test_every_dependency_has_a_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    rows = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert declared() - {"fabrika"} <= set(re.findall(r"`([\w-]+)`", rows))


def test_the_readme_shows_the_evidence() -> None:
    """The table in README is the one in docs/results.md: figures are written down once."""

    def table(page: str) -> str:
        text = (ROOT / page).read_text()
        return text.split("<!-- evidence -->\n")[1].split("<!-- /evidence -->")[0]

    assert table("README.md") == table("docs/results.md")
    assert re.search(r"^hardware: \S", (ROOT / "docs/results.md").read_text(), re.MULTILINE)


def test_every_page_can_be_found() -> None:
    """Each page of docs is linked from another page."""
    linked = set()
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s:]+)", page.read_text()):
            linked.add((page.parent / target).resolve())
    assert [relative(p) for p in PAGES if "docs" in p.parts and p.resolve() not in linked] == []


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
    shell(block, tmp_path)


def test_the_readme_has_blocks_that_run() -> None:
    assert any(page == "README.md" for page, _ in runnable())


GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_works_as_it_is_written(guide: Path, tmp_path: Path) -> None:
    """Every file of the guide, written to disk and installed, passes what the guide runs."""
    text = guide.read_text()
    files = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL)
    blocks = re.findall(r"<!-- run in the package -->\n```sh\n(.*?)```", text, re.DOTALL)
    if not files and not blocks:  # its blocks are run as those of any other page
        assert any(page == relative(guide) for page, _ in runnable())
        return
    assert len(files) >= 2 and blocks
    package = tmp_path / "package"
    for name, content in files:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(content)
    # Installed into a folder of its own, so that this environment stays as it is.
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    install += ["--no-build-isolation", "--target", str(tmp_path / "site"), str(package)]
    subprocess.run(install, check=True, capture_output=True)
    for block in blocks:
        shell(block, tmp_path, PYTHONPATH=str(tmp_path / "site"))


def shell(block: str, folder: Path, **environment: str) -> None:
    """Run a block as a reader would, with this environment's commands on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-euc", block],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, f"{block}\n{run.stdout}\n{run.stderr}"
