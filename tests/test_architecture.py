"""The rules of docs/ARCHITECTURE.md that a program can check.

They are about layers, circles, module names, optional packages and private attributes.
"""

import ast
import graphlib
import re
import sys
from collections import defaultdict
from pathlib import Path

import streamce
from streamce.metrics.base import Metric
from streamce.metrics.mergeable import MergeableState
from streamce.metrics.update_from import UpdateFromMixin

ROOT = Path(streamce.__file__).parent
# The layers, lowest first. Folders on one line may import each other, if that makes no circle. A module at the top of
# the package is a separate layer. "streamce" is its __init__.py, which has the public names.
LAYERS = [
    ["errors"],
    ["_support"],
    ["inputs"],
    ["core"],
    ["keys", "stats", "reading"],
    ["metrics"],
    ["wrappers", "functional"],
    ["persistence", "report"],
    ["integrations"],
    ["streamce"],
    ["monitor"],
    ["cli"],
    ["__main__"],
]
CORE = [["kernels"], ["ledger"], ["samples"], ["grouping", "losses"], ["pipeline"]]
# The modules that may import an optional package. NumPy is not optional.
OPTIONAL = {
    "dask": {"integrations.dask"},
    "distributed": {"integrations.dask"},
    "prometheus_client": {"integrations.prometheus", "monitor.metrics_page"},
    "pyarrow": {
        "inputs.arrow",
        "inputs.interop",
        "reading",
        "metrics.update_from",
        "integrations.dask",
        "integrations.spark",
        "monitor",
        "cli.cluster_run",
        "cli.partitions",
    },
    "pyspark": {"integrations.spark", "cli.cluster_run"},
    "torch": {"metrics.torch_device", "integrations.torch_distributed"},
    "tqdm": {"cli.console"},
}
# The private attributes of a metric that upper layers may use, with the reason. They are private, because
# the completion of an editor or notebook shows users all public methods.
PROTOCOL = {
    "_state": "wrappers, engines, the report and the command line read and replace states",
    "_new": "wrappers and engines make empty metrics of the same options",
    "_header": "the states of wrappers hold the options of their metrics, and the report shows them",
    "_from_options": "from_bytes makes a metric of a header",
    "_restore": "from_bytes fills that metric",
    "_update": "readers of files add batches with a mask of missing inputs, which no public update takes",
    "_task": "wrappers have other arguments for losses than for predictions",
    "_pipeline": "functions of arrays need each loss and the gradient, which a metric does not keep",
    "_loss_key": "a collection computes the losses of its metrics once",
    "_caption": "the report names metrics in words",
    "_sections": "the report, the command line and the collector have a function for each section of a metric",
    "_run_returning_samples": "wrappers add the samples of a batch to states of their own",
    "_select": "the metrics of a collection keep different parts of these losses",
    "_value": "wrappers and the report compute a metric's value from a mean of their own",
    "_present": "wrappers and the report put that value into a summary of their own",
}
NAMEDTUPLE = {"_asdict", "_replace"}  # public, though their names begin with an underscore
CYTHON = {"cython", "cpython", "libc"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "streamce"


FILES = [path for suffix in ("py", "pyi", "pyx", "pxd") for path in sorted(ROOT.rglob(f"*.{suffix}"))]
NAMES = {module_name(path) for path in FILES}


def python_imports(text):
    """Return the absolute names that a Python file imports anywhere: (module, name or None)."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from ((node.module, alias.name) for alias in node.names)


def cython_imports(text):
    """Return the same for a Cython file, with cimports."""
    text = re.sub(r'"""(?:.|\n)*?"""|#[^\n]*', "", text)
    for match in re.finditer(r"^[ \t]*from ([\w.]+) c?import (?:\(([^)]*)\)|([^\n]*))", text, re.M):
        for name in (match[2] or match[3]).split(","):
            if name.strip():
                yield match[1], name.split()[0]
    for match in re.finditer(r"^[ \t]*c?import ([\w.]+)", text, re.M):
        yield match[1], None


def imports(path):
    """Return the modules that a file imports, those of streamce without the prefix ``streamce``."""
    read = python_imports if path.suffix in (".py", ".pyi") else cython_imports
    for module, name in read(path.read_text(encoding="utf-8")):
        if module == "streamce" or module.startswith("streamce."):
            inner = module.removeprefix("streamce").removeprefix(".")
            full = ".".join(filter(None, [inner, name]))
            yield full if full in NAMES else inner or "streamce"
        else:
            yield f"/{module}"


IMPORTS = {path: sorted(set(imports(path))) for path in FILES}


def folder(name):
    return name.partition(".")[0]


def edges(within=""):
    """Return pairs of subfolders of a folder of which the first imports the second, with the importing file."""
    for path, found in IMPORTS.items():
        name = module_name(path)
        if name.startswith(within):
            for each in found:
                if each.startswith(within) and not each.startswith("/"):
                    importing, imported = folder(name.removeprefix(within)), folder(each.removeprefix(within))
                    if importing != imported and importing and imported:
                        yield importing, imported, str(path.relative_to(ROOT))


LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def test_the_layers_are_the_folders():
    assert {folder(name) for name in NAMES} == set(LEVEL)


def test_no_import_goes_up():
    assert [edge for edge in edges() if LEVEL[edge[0]] < LEVEL[edge[1]]] == []


def test_no_stage_of_the_core_imports_a_later_one():
    level = {name: level for level, names in enumerate(CORE) for name in names}
    found = [edge for edge in edges("core.") if edge[0] in level and edge[1] in level]
    assert found
    assert [edge for edge in found if level[edge[0]] < level[edge[1]]] == []
    assert [edge for edge in found if level[edge[0]] == level[edge[1]]] == []


def test_no_folders_import_each_other_in_a_circle():
    graph = defaultdict(set)
    for importing, imported, _ in edges():
        graph[importing].add(imported)
    graphlib.TopologicalSorter(graph).prepare()


def test_a_module_name_occurs_once():
    places = defaultdict(set)
    for name in NAMES:
        *folders, module = name.split(".")
        is_main = folders and folders[-1] == module
        if module != "base" and not is_main:
            places[module].add(name)
    assert {module: found for module, found in places.items() if len(found) > 1} == {}


def test_optional_packages_are_imported_where_they_may_be():
    wrong = []
    for path, found in IMPORTS.items():
        name = module_name(path)
        for each in found:
            package = each.removeprefix("/").partition(".")[0]
            if not each.startswith("/") or package in sys.stdlib_module_names | CYTHON | {"numpy"}:
                continue
            allowed = OPTIONAL[package]
            if not any(name == place or name.startswith(f"{place}.") for place in allowed):
                wrong.append((name, package))
    assert wrong == []


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names(tree):
    """Return the private attributes of the classes of a module: methods, fields, slots and those set on self."""
    for defined in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in ast.walk(defined):
            match node:
                case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                    yield name
                case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                    yield from (each.value for each in ast.walk(value) if isinstance(each, ast.Constant))
                case ast.Assign(targets=[ast.Name(id=name)]):
                    yield name
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    yield name


def private_uses(tree):
    """Return the private attributes that a module uses of objects other than self, cls and super(), with lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            match node.value:
                case ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")):
                    pass
                case _:
                    yield node.attr, node.lineno


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES if path.suffix == ".py"}
PRIVATE = defaultdict(set)  # by folder
for path, tree in TREES.items():
    PRIVATE[folder(module_name(path))] |= set(filter(is_private, private_names(tree)))


def foreign_uses():
    """Return the uses of private attributes that no class of the same folder defines."""
    for path, tree in TREES.items():
        for name, line in private_uses(tree):
            if name not in PRIVATE[folder(module_name(path))] | NAMEDTUPLE:
                yield name, f"{path.relative_to(ROOT)}:{line}"


def test_private_attributes_are_used_in_their_own_folder():
    assert [use for use in foreign_uses() if use[0] not in PROTOCOL] == []


def test_the_protocol_of_metrics_is_used_and_documented():
    assert {name for name, _ in foreign_uses()} == set(PROTOCOL)
    documented = "".join(cls.__doc__ for cls in (MergeableState, UpdateFromMixin, Metric))
    assert {name for name in PROTOCOL if f"``{name}" not in documented} == set()
