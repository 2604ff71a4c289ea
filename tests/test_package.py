"""Imports, names and metadata of the package."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
from imports import modules_after
from paths import ROOT

import streamce as ce

pytestmark = pytest.mark.core

OURS = {"streamce", "numpy", "cython_runtime"}


def test_importing_brings_numpy_and_the_standard_library_only():
    added = {name.partition(".")[0] for name in modules_after("import streamce") - modules_after("import numpy")}
    strangers = added - OURS - set(sys.stdlib_module_names)
    assert {name for name in strangers if not name.startswith("_cython_")} == set()


def test_importing_does_not_turn_on_the_interpreter_lock():
    # On Pythons without the GIL, an extension that does not declare its support would enable the GIL with a warning.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    script = (
        "import sys\nlocked = getattr(sys, '_is_gil_enabled', lambda: True)\nbefore = locked()\nimport numpy\n"
        "import importlib, pkgutil, streamce.core\n"
        "for module in pkgutil.walk_packages(streamce.core.__path__, 'streamce.core.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(before == locked())"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "True\n", "")


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ce.__version__ == project["version"]


def test_the_readme_example_runs(capsys):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example[1], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "95 % interval" in printed
    assert "51,200" in printed


def test_the_examples_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "examples").iterdir() if path.is_file()) < 500_000


def test_extras_are_for_users_and_pin_nothing():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    modules = {path.stem for path in (ROOT / "streamce/integrations").glob("*.py")}
    # Modules of no package, or of one that users choose.
    ours = {"__init__", "engines", "exported_metrics", "record_tables", "torch_distributed"}
    assert set(extras) == {"files", "cli", "watch", "duckdb"} | (modules - ours)
    wanted = [requirement for extra in extras.values() for requirement in extra]
    assert not [requirement for requirement in wanted if "==" in requirement or re.match(r"torch\b", requirement)]


def test_what_a_release_changes_agrees_with_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    recipe = (ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
    assert f"\nversion: {project['version']}\n" in citation
    assert f'\n  version: "{project["version"]}"\n' in recipe
    for text in (citation, recipe):
        assert f"license: {project['license']}\n" in text
        assert project["urls"]["Source"] in text
    # The conda recipe has the same lower bounds, in its own syntax and names.
    needs = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    needs += project["optional-dependencies"]["prometheus"]
    for need in needs:
        assert f"- {need.replace('>=', ' >=').replace('prometheus-client', 'prometheus_client')}\n" in recipe
    [duckdb] = [need for need in project["optional-dependencies"]["duckdb"] if need.startswith("duckdb")]
    assert f"- python-{duckdb.replace('>=', ' >=')}\n" in recipe
    assert all(f"- {need.lower().replace('>=', ' >=')}\n" in recipe for need in build_needs())


def build_needs():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]


def test_a_prompt_completes_public_names_only():
    assert dir(ce) == sorted([*ce.__all__, "__version__"])
