"""Laws of the front door: a sorted list, and nothing heavy behind it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import fabrika
from fabrika import _errors


def errors() -> dict[str, type[fabrika.FabrikaError]]:
    return {
        name: value
        for name, value in vars(_errors).items()
        if isinstance(value, type) and issubclass(value, fabrika.FabrikaError)
    }


def test_the_front_door_is_sorted_and_whole() -> None:
    assert fabrika.__all__ == sorted(set(fabrika.__all__))
    public = {
        name
        for name, value in vars(fabrika).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public == set(fabrika.__all__)
    assert set(errors()) <= set(fabrika.__all__)


def test_whatever_is_public_is_explained() -> None:
    for name in fabrika.__all__:
        value = getattr(fabrika, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__ and value.__doc__.strip(), name


def test_importing_it_imports_no_plug_in_and_nothing_heavy() -> None:
    code = "import fabrika, fabrika.testing, sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith("fabrika.")}
    assert all(name.startswith(("fabrika._", "fabrika.testing")) for name in ours), ours
    outside = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    heavy = {"mujoco", "torch", "pyarrow", "onnx", "onnxruntime", "av", "matplotlib", "click"}
    assert "numpy" in outside and not outside & heavy


def test_the_exit_codes_are_those_that_are_published() -> None:
    published = {
        "UsageError": 2,
        "UnknownNameError": 2,
        "ContractError": 2,
        "SignalError": 2,
        "VersionError": 2,
        "BrokenWorldError": 3,
        "InterruptedRunError": 4,
        "GateFailedError": 5,
        "EvidenceError": 6,
        "IntegrityError": 6,
        "ResourceError": 7,
        "BusyError": 8,
        "FabrikaError": 1,
    }
    assert {name: error.exit_code for name, error in errors().items()} == published


def test_the_example_at_the_front_door_runs() -> None:
    text = fabrika.__doc__ or ""
    code = "\n".join(line.strip() for line in text.splitlines() if line.startswith("    "))
    names: dict[str, object] = {}
    exec(compile(code, str(Path(fabrika.__file__)), "exec"), names)
    assert isinstance(names["verdict"], fabrika.Verdict)
