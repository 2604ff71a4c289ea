"""The rules of docs/ARCHITECTURE.md that a program can check.

They are about layers, circles, the doors of folders, names of modules, optional packages, private names and parameters.
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
from streamce.metrics.summable import SummableState
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
    "accelerate": {"integrations.transformers"},
    "apache_beam": {"integrations.beam"},
    "dask": {"integrations.dask"},
    "distributed": {"integrations.dask"},
    "duckdb": {"reading.key_join"},
    "ignite": {"integrations.ignite"},
    "keras": {"integrations.keras"},
    "msgspec": {"reading.formats.json_rows", "reading.formats.json_text"},
    "opentelemetry": {"integrations.opentelemetry"},
    "prometheus_client": {"integrations.prometheus", "monitor.metrics_page"},
    "pyarrow": {
        "inputs.arrow",
        "inputs.interop",
        "reading",
        "metrics.update_from",
        "wrappers.paired_streams",
        "integrations.beam",
        "integrations.record_tables",
        "integrations.spark",
        "monitor",
        "cli.cluster_run",
        "cli.partitions",
    },
    "pyspark": {"integrations.spark", "cli.cluster_run"},
    "ray": {"integrations.ray", "cli.cluster_run"},
    "river": {"integrations.river"},
    "torch": {
        "metrics.torch_device",
        "integrations.ignite",
        "integrations.keras",
        "integrations.torch_distributed",
        "integrations.torchmetrics",
        "integrations.transformers",
    },
    "torchmetrics": {"integrations.torchmetrics"},
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
    "_sql_spec": "rows of groups hold the class and options of their metric",
    "_rows_of_states": "groups turn the states of their metric into rows",
    "_states_of_rows": "and rows into states",
    "_from_rows": "from_sql_rows makes a metric of rows",
    "_check_compatible": "states are compared only if they could be added",
    "_update": "readers of files add batches with a mask of missing inputs, which no public update takes",
    "_task": "wrappers have other arguments for losses than for predictions",
    "_pipeline": "functions of arrays need each loss and the gradient, which a metric does not keep",
    "_loss_key": "a collection computes the losses of its metrics once",
    "_caption": "the report names metrics in words",
    "_sections": "the report, the command line and the collector have a function for each section of a metric",
    "_current": "the report, the command line and the collector show a window by the metric of its samples",
    "_members": "they show each metric of a collection, and of groups of a collection",
    "_headline": "they rank and draw groups by the part of a summary that has the value",
    "_run_returning_samples": "wrappers add the samples of a batch to states of their own",
    "_has_cell": "a table of states keeps means as cells, if the metric has one mean",
    "_has_only_mean": "wrappers take the samples of a batch, if each adds to a mean only",
    "_select": "the metrics of a collection keep different parts of these losses",
    "_center": "a comparison computes the value of a model or of the differences from a state",
    "_uncertainty": "it computes how precisely that is estimated",
    "_summarise": "it makes the summary with that value",
    "_unit": "it says in which unit that value is",
    "_of_differences": "it keeps the sums of a metric of differences",
    "_outcomes_of_pairs": "it keeps the outcomes of normalized entropies with its differences",
    "_score": "groups are ranked and averaged by it",
    "_n_samples": "the report leaves out small groups, and a comparison of states shows the number",
    "_sizes": "the command line leaves out small groups",
    "_value": "wrappers and the report compute a metric's value from a mean of their own",
    "_present": "wrappers and the report put that value into a summary of their own",
}
# The functions outside the public API that may have more than seven parameters, with the reason.
LONG = {
    "LossSpec.__cinit__": "its parameters are the fields of a type: options, all but two by keyword",
    "CTCCrossEntropy._run_returning_samples": "these are the parameters of the public update, forwarded by name",
}
NAMEDTUPLE = {"_asdict", "_replace"}  # public, though their names begin with an underscore
CYTHON = {"cython", "cpython", "libc"}
# The functions that take the name of an attribute as a string.
BY_NAME = {"getattr", "hasattr", "setattr", "delattr", "attrgetter", "methodcaller"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "streamce"


FILES = [path for suffix in ("py", "pyi", "pyx", "pxd") for path in sorted(ROOT.rglob(f"*.{suffix}"))]
NAMES = {module_name(path) for path in FILES}


def cython_code(path):
    """Return the text of a Cython file without docstrings, comments and backslashes at ends of lines."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.sub(r'"""(?:.|\n)*?"""|#[^\n]*', lambda left_out: "\n" * left_out[0].count("\n"), text)


def python_imports(path):
    """Return the absolute names that a Python file imports anywhere: (module, name or None).

    The name of one of our modules as a string is an import too, because a table of them serves to import modules.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, None) for alias in names)
            case ast.ImportFrom(level=level, module=module, names=names):
                assert level == 0, "relative import"
                yield from ((module, alias.name) for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module, None
            case ast.Constant(value=str(module)) if module in {f"streamce.{name}" for name in NAMES}:
                yield module, None


def cython_imports(path):
    """Return the same for a Cython file, with cimports."""
    text = cython_code(path)
    for match in re.finditer(r"^[ \t]*from ([\w.]+) c?import (?:\(([^)]*)\)|([^\n]*))", text, re.M):
        for name in (match[2] or match[3]).split(","):
            if name.strip():
                yield match[1], name.split()[0]
    for modules in re.findall(r"^[ \t]*c?import ([^\n]+)", text, re.M):
        yield from ((module.split()[0], None) for module in modules.split(","))
    for module in re.findall(r"(?:import_module|__import__)\([\"']([\w.]+)", text):
        yield module, None


def is_ours(module):
    return module == "streamce" or module.startswith("streamce.")


def imported_name(module, name):
    """Return an imported module, one of streamce without the prefix ``streamce``, another one after a slash."""
    if not is_ours(module):
        return f"/{module}"
    inner = module.removeprefix("streamce").removeprefix(".")
    full = ".".join(filter(None, [inner, name]))
    return full if full in NAMES else inner or "streamce"


READ = {path: set(cython_imports(path) if path.suffix in (".pyx", ".pxd") else python_imports(path)) for path in FILES}
IMPORTS = {path: sorted({imported_name(*each) for each in found}) for path, found in READ.items()}
# The folders below the package, those in other folders too: "core", "core.kernels" ...
PACKAGES = sorted(module_name(path) for path in ROOT.rglob("*/__init__.py"))


def folder(name):
    return name.partition(".")[0]


def package(name):
    """Return the folder of a module, or a module at the top itself."""
    return name if name in PACKAGES or "." not in name else name.rpartition(".")[0]


def is_within(package, name):
    return f"{name}.".startswith(f"{package}.")


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


def test_the_stages_are_the_folders_of_the_core():
    folders = {path.name for path in (ROOT / "core").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == {name for names in CORE for name in names}


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


def test_no_nested_folders_import_each_other_in_a_circle():
    """A folder stands above those in it. So it may import their modules, and they may not import its own."""
    graph = defaultdict(set)
    for each in PACKAGES:
        graph[each.rpartition(".")[0]].add(each)
    for path, found in IMPORTS.items():
        importing = package(module_name(path))
        graph[importing] |= {package(name) for name in found if not name.startswith("/")} - {importing}
    graphlib.TopologicalSorter(graph).prepare()


def test_a_module_name_occurs_once():
    places = defaultdict(set)
    for name in NAMES:
        *folders, module = name.split(".")
        is_main = folders and folders[-1] == module
        if module != "base" and not is_main:
            places[module].add(name)
    assert {module: found for module, found in places.items() if len(found) > 1} == {}


def test_a_header_name_occurs_once_and_is_included_in_its_own_folder():
    headers = [path.name for path in ROOT.rglob("*.h")]
    assert sorted(headers) == sorted(set(headers))
    wrong = []
    for path in (path for suffix in ("h", "c", "pyx", "pxd") for path in ROOT.rglob(f"*.{suffix}")):
        included = set(re.findall(r'(?:#include|extern from) "([^"]+)"', path.read_text(encoding="utf-8")))
        beside = {each.name for each in path.parent.iterdir()}
        wrong += [(path.name, name) for name in included - beside - {"Python.h"}]
    assert wrong == []


def test_no_cython_file_includes_another():
    """The imports of an included file would be those of another stage."""
    files = [path for path in FILES if path.suffix in (".pyx", ".pxd")]
    assert [path.name for path in files if re.search(r"^[ \t]*include [\"']", cython_code(path), re.M)] == []


def door(package):
    """Return the docstring of a folder."""
    text = (ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(text))


def quoted(text):
    return re.findall(r"``([\w.]+)``", text)


def parts(package):
    """Return the parts of a folder: its modules, folders, and files in C."""
    for path in (ROOT / package.replace(".", "/")).iterdir():
        if path.suffix in (".h", ".c"):
            yield path.name
        elif path.stem != "__init__" and (path in FILES or (path / "__init__.py").exists()):
            yield path.stem


def test_the_door_of_a_folder_lists_its_parts():
    """The names at the beginning of a line, before two spaces, are a list of the parts."""
    for each in PACKAGES:
        listed = [name for line in re.findall(r"^(``.*?``)  ", door(each), re.M) for name in quoted(line)]
        assert (each, sorted(listed)) == (each, sorted(set(parts(each))))


def test_the_door_of_a_folder_names_the_folders_that_it_imports():
    """One sentence begins with "Imports". It names a folder in the same folder by its last part."""
    for each in PACKAGES:
        [sentence] = re.findall(r"(?:^|[.] )Imports\b(.*?)[.](?=\s|$)", door(each), re.M | re.S)
        parent = each.rpartition(".")[0]
        imported = set()
        for path in (path for path in FILES if is_within(each, module_name(path))):
            names = (name for name in IMPORTS[path] if not name.startswith("/") and not is_within(each, name))
            imported |= {folder(name.removeprefix(f"{parent}.")) for name in names}
        assert (each, sorted(quoted(sentence))) == (each, sorted(imported))


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
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super"))):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield name, node.lineno
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=args) if called in BY_NAME:
                for each in args:
                    if isinstance(each, ast.Constant) and isinstance(each.value, str) and is_private(each.value):
                        yield each.value, node.lineno


def cython_private_uses(text):
    """Return the same for a Cython file."""
    attribute = r"(?<!\bself)(?<!\bcls)(?<!\bsuper\(\))(?<!\bstreamce)\.(_\w+)"  # streamce._support is a folder
    by_name = rf"\b(?:{'|'.join(BY_NAME)})\([^\n]*?[\"'](_\w+)"
    for match in re.finditer(f"{attribute}|{by_name}", text):
        if is_private(match[1] or match[2]):
            yield match[1] or match[2], text.count("\n", 0, match.start()) + 1


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES if path.suffix == ".py"}
PRIVATE = defaultdict(set)  # by folder
for path, tree in TREES.items():
    PRIVATE[folder(module_name(path))] |= set(filter(is_private, private_names(tree)))


def foreign_uses():
    """Return the uses of private attributes that no class of the same folder defines. Compiled classes define none."""
    for path in FILES:
        uses = private_uses(TREES[path]) if path in TREES else cython_private_uses(cython_code(path))
        for name, line in uses:
            if name not in PRIVATE[folder(module_name(path))] | NAMEDTUPLE:
                yield name, f"{path.relative_to(ROOT)}:{line}"


def test_private_attributes_are_used_in_their_own_folder():
    assert [use for use in foreign_uses() if use[0] not in PROTOCOL] == []


def test_private_names_are_imported_in_their_own_folder():
    wrong = []
    for path, found in READ.items():
        for module, name in found:
            inner = imported_name(module, name)
            is_module = f"streamce.{inner}" == f"{module}.{name}"
            if is_private(name or "") and not is_module and folder(inner) != folder(module_name(path)):
                wrong.append((str(path.relative_to(ROOT)), module, name))
    assert wrong == []


def test_the_protocol_of_metrics_is_used_and_documented():
    assert {name for name, _ in foreign_uses()} == set(PROTOCOL)
    documented = "".join(cls.__doc__ for cls in (SummableState, MergeableState, UpdateFromMixin, Metric))
    assert {name for name in PROTOCOL if f"``{name}" not in documented} == set()


def python_functions(node, prefix=""):
    """Return the functions in a tree, those in classes and functions too: (name, number of parameters)."""
    for each in ast.iter_child_nodes(node):
        is_function = isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        inner = f"{prefix}{each.name}." if is_function or isinstance(each, ast.ClassDef) else prefix
        if is_function:
            names = {arg.arg for arg in ast.iter_child_nodes(each.args) if isinstance(arg, ast.arg)}
            yield inner.rstrip("."), len(names - {"self", "cls"})
        yield from python_functions(each, inner)


def cython_functions(text):
    """Return the same for a Cython file. Functions of C, which are declared without ``cdef``, are left out."""
    name_of_class = ""
    pattern = r"^([ \t]*)(?:(?:cdef )?class (\w+)|c?p?def\b[^=(\n]*?(\w+)\()"
    for match in re.finditer(pattern, text, re.M):
        if match[2]:
            name_of_class = f"{match[2]}."
        else:
            yield f"{name_of_class if match[1] else ''}{match[3]}", len(parameters(text[match.end() :]))


def parameters(text):
    """Return the parameters that a text begins with, up to their closing bracket, without ``self``."""
    depth, found = 0, [""]
    for each in text:
        depth += (each in "([{") - (each in ")]}")
        if depth < 0:
            break
        if each == "," and depth == 0:
            found.append("")
        else:
            found[-1] += each
    return [each for each in found if each.strip() not in ("", "*", "/", "self", "cls")]


def public_names():
    """Return the classes and functions of the public API, with their modules. Base classes are part of it."""
    for name in streamce.__all__:
        public = getattr(streamce, name)
        for each in getattr(public, "__mro__", [public]):
            yield each.__module__.removeprefix("streamce."), each.__name__


PUBLIC = set(public_names())


def is_public(module, name):
    """Return whether a function is public: one of ``streamce.__all__``, of ``integrations``, or a method of these."""
    outer, _, method = name.partition(".")
    is_known = (module, outer) in PUBLIC or (module.startswith("integrations.") and not is_private(outer))
    return is_known and "." not in method and not is_private(method)


def test_a_function_has_at_most_seven_parameters():
    """More call for a type. Functions of the public API are exempt, because users name their options.

    Kernels (.h and .c) are exempt as a whole: a kernel gets what it reads as parameters, so that the compiler can keep
    it in registers.
    """
    found = set()
    for path in (path for path in FILES if path.suffix != ".pyi"):
        functions = python_functions(TREES[path]) if path in TREES else cython_functions(cython_code(path))
        found |= {name for name, count in functions if count > 7 and not is_public(module_name(path), name)}
    assert found == set(LONG)
