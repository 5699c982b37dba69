"""Imports go downwards only: ground <- core <- parts and edges <- tools.

Read from the syntax trees, so imports inside functions and for type checkers count too.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.patience import patient

ROOT = Path(__file__).parent.parent

GROUND, CORE, PARTS, EDGES, TOOLS, APART = "ground", "core", "parts", "edges", "tools", "apart"
MAY_IMPORT = {
    GROUND: {GROUND},
    CORE: {CORE, GROUND},
    PARTS: {CORE, GROUND},  # and itself
    EDGES: {EDGES, CORE, GROUND},  # parts are given to them by the application
    TOOLS: {TOOLS, EDGES, PARTS, CORE, GROUND, APART},  # the demo plays the web application, too
    APART: {GROUND},  # and itself
}
LAYERS = {
    "snorky": CORE,
    "snorky.__main__": TOOLS,
    "snorky.asgi": EDGES,
    "snorky.attendance": CORE,
    "snorky.audience": CORE,
    "snorky.backend": APART,
    "snorky.brokers": CORE,
    "snorky.brokers.*": PARTS,
    "snorky.brokers.connecting": CORE,
    "snorky.brokers.log": CORE,
    "snorky.brokers.memory": CORE,
    "snorky.brokers.window": CORE,
    "snorky.cli": TOOLS,
    "snorky.client": CORE,
    "snorky.close_codes": GROUND,
    "snorky.connected_client": CORE,
    "snorky.connection": CORE,
    "snorky.deltas": GROUND,
    "snorky.envelope": CORE,
    "snorky._fanout": CORE,
    "snorky.fanout": CORE,
    "snorky.edges": EDGES,
    "snorky.filters": GROUND,
    "snorky.hashable": GROUND,
    "snorky.hooks": CORE,
    "snorky.identity": CORE,
    "snorky.limits": GROUND,
    "snorky.log": GROUND,
    "snorky.metrics": GROUND,
    "snorky.past": CORE,
    "snorky.patterns": CORE,
    "snorky.presence": CORE,
    "snorky.processes": CORE,
    "snorky.protocols": GROUND,
    "snorky.readiness": CORE,
    "snorky.request_handlers": EDGES,
    "snorky.rosters": CORE,
    "snorky.running": CORE,
    "snorky.service_registry": CORE,
    "snorky.services": CORE,
    "snorky.services.*": PARTS,
    "snorky.services.base": CORE,
    "snorky.services.encoded": CORE,
    "snorky.services.joining": CORE,
    "snorky.services.keys": CORE,
    "snorky.services.listing": CORE,
    "snorky.services.sharing": CORE,
    "snorky.services.signatures": CORE,
    "snorky.testing": TOOLS,
    "snorky.topics": CORE,
    "snorky.turn": CORE,
    "snorky.visit": CORE,
    "snorky.wheel": CORE,
    "snorky.wire": GROUND,
}

ONLY_IN = {
    "tornado": ("snorky.request_handlers", "snorky.cli"),
    "click": ("snorky.cli",),
    "engineio": ("snorky.request_handlers.socketio",),
    "rich": ("snorky.cli",),
    "watchfiles": ("snorky.cli.reload",),
    "uvloop": ("snorky.cli", "snorky.request_handlers.front_door"),
    "prometheus_client": ("snorky.metrics",),
    "httpx2": ("snorky.backend", "snorky.cli", "snorky.identity.web"),
    "django": ("snorky.backend.django",),
    "rest_framework": ("snorky.backend.django",),
    "sqlalchemy": ("snorky.backend", "snorky.filters"),
    "psycopg": ("snorky.backend", "snorky.brokers.postgres", "snorky.cli.broker"),
    "redis": ("snorky.brokers.redis",),
    "nats": ("snorky.brokers.nats",),
    "socketio": ("snorky.request_handlers.socketio",),
    "jwt": ("snorky.identity.jwt", "snorky.cli"),
    "pytest": ("snorky.testing.brokers",),
}
# Tornado's C function that unmasks frames; it brings nothing else of Tornado.
EXCEPTIONS = {("snorky.protocols.websocket_frames", "tornado.util")}


class Import(NamedTuple):
    importer: str
    imported: str
    line: int


def _names_of_modules() -> dict[str, Path]:
    names = {}
    for path in sorted((ROOT / "snorky").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = _names_of_modules()


def _imports_in(name: str, tree: ast.AST) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: imports are absolute here"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                imported = whole if whole in MODULES else node.module
                yield Import(name, imported, node.lineno)
        yield from _imports_in(name, node)


IMPORTS = [
    found
    for name, path in MODULES.items()
    for found in _imports_in(name, ast.parse(path.read_text(encoding="utf-8")))
]
INNER = [found for found in IMPORTS if found.imported.split(".")[0] == "snorky"]
OUTER = [
    found
    for found in IMPORTS
    if found.imported.split(".")[0] not in {"snorky", *sys.stdlib_module_names}
]


def layer_of(module: str) -> str:
    if module in LAYERS:
        return LAYERS[module]
    parent = module.rpartition(".")[0]
    assert parent != "snorky", f"{module} has no layer: add it to LAYERS"
    return LAYERS.get(f"{parent}.*") or layer_of(parent)


def part_of(module: str) -> str:
    """The part (or what stands apart) that a module belongs to: one module or one package."""
    return ".".join(module.split(".")[: 2 if layer_of(module) == APART else 3])


def described(found: Import, why: str) -> str:
    return f"{found.importer}:{found.line} imports {found.imported}: {why}"


def is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_the_layers_are_read_from_the_source() -> None:
    assert ("snorky.envelope", "snorky.wire") in {found[:2] for found in INNER}
    assert layer_of("snorky.services.pubsub") == PARTS
    assert layer_of("snorky.services.datasync.delta") == PARTS
    assert layer_of("snorky.backend.django.settings") == APART
    assert part_of("snorky.services.datasync.delta") == "snorky.services.datasync"


def test_imports_go_downwards_only() -> None:
    faults = []
    for found in INNER:
        layer, imported = layer_of(found.importer), layer_of(found.imported)
        of_itself = part_of(found.importer) == part_of(found.imported)
        if imported not in MAY_IMPORT[layer] and not (imported == layer and of_itself):
            faults.append(described(found, f"{layer} must not know {imported}"))

    assert faults == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Nor for type checkers alone, nor inside functions, where what is used late is loaded."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for found in INNER:
        sorter.add(found.importer, found.imported)
    try:
        sorter.prepare()
    except CycleError as error:
        raise AssertionError(f"a circle: {' <- '.join(error.args[1])}") from error


def test_other_packages_are_known_only_where_they_belong() -> None:
    faults = []
    for found in OUTER:
        allowed = ONLY_IN.get(found.imported.split(".")[0], ("snorky",))
        if (found.importer, found.imported) not in EXCEPTIONS and not is_in(
            found.importer, allowed
        ):
            faults.append(described(found, f"only in {', '.join(allowed)}"))

    assert faults == []


def test_the_server_s_packages_are_nothing_to_the_web_application() -> None:
    faults = [
        described(found, "the back end's library runs without it")
        for found in OUTER
        if is_in(found.importer, ("snorky.backend",))
        and found.imported.split(".")[0] in {"tornado", "msgspec", "prometheus_client", "click"}
    ]

    assert faults == []


OPTIONAL = {
    "django": "snorky.backend.django",
    "rest_framework": "snorky.backend.django",
    "sqlalchemy": "snorky.backend.sqlalchemy",
    "redis": "snorky.brokers.redis",
    "nats": "snorky.brokers.nats",
    "socketio": "snorky.request_handlers.socketio",
    "engineio": "snorky.request_handlers.socketio",
    "psycopg": "snorky.backend.outbox",
    "jwt": "snorky.identity.jwt",
    "pytest": "snorky.testing.brokers",
    "rich": "snorky.cli",
}
NEED_EXTRAS = (*OPTIONAL.values(), "snorky.brokers.postgres", "snorky.filters.sqlalchemy")


def test_every_package_imported_without_a_need_for_extras_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[^A-Za-z0-9_-]", line)[0] for line in project["dependencies"]}
    needed = {found.imported.split(".")[0].replace("_", "-") for found in OUTER}
    extras = {name.replace("_", "-") for name in OPTIONAL}

    assert needed - extras <= declared
    assert declared <= needed


# What really happens


def run(program: str) -> str:
    """Run it in a fresh interpreter where every warning is an error; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=patient(60),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


SERVER = {
    "tornado.web",
    "tornado.ioloop",
    "tornado.httputil",
    "tornado.websocket",
    "uvloop",
    "click",
    "httpx2",
    "hypothesis",
    "pytest",
    "snorky.backend",
    "snorky.cli",
    "snorky.testing",
}


def loaded_by(program: str) -> set[str]:
    return set(run(f"{program}; import sys; print(*sys.modules)").split())


def test_the_registry_brings_no_http_server_and_nothing_optional() -> None:
    loaded = loaded_by("from snorky import ServiceRegistry")

    assert "snorky.service_registry" in loaded
    assert loaded & {*SERVER, *OPTIONAL} == set()


@pytest.mark.parametrize("module", ["snorky.backend", "snorky.backend.aio"])
def test_the_back_ends_library_brings_nothing_of_the_server(module: str) -> None:
    loaded = loaded_by(f"import {module}")

    ours = {name for name in loaded if name.split(".")[0] == "snorky"}
    assert module in ours
    assert {layer_of(name) for name in ours - {"snorky"}} <= {APART, GROUND}
    assert (
        loaded & {"tornado", "msgspec", "prometheus_client", "django", "click", "uvloop"} == set()
    )


@pytest.mark.parametrize("package", ["snorky.asgi", "snorky.edges"])
def test_what_runs_in_any_server_loads_nothing_of_tornado_s(package: str) -> None:
    names = [name for name in MODULES if is_in(name, (package,))]

    loaded = loaded_by(f"import {package}, {', '.join(names)}")

    assert {*names} <= loaded
    assert {name for name in loaded if is_in(name, ("snorky.request_handlers",))} == set()
    of_tornado = {name for name in loaded if name.split(".")[0] == "tornado"}
    assert of_tornado <= {"tornado", "tornado.util", "tornado.speedups"}  # it unmasks frames


def test_importing_snorky_changes_nothing_in_the_process() -> None:
    program = """
import asyncio, gc, logging, signal, sys, threading, warnings
def state():
    return (
        type(asyncio.get_event_loop_policy()), threading.active_count(), logging.root.handlers,
        logging.root.level, gc.get_threshold(), gc.isenabled(), sys.getrecursionlimit(),
        signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), list(warnings.filters),
        sys.get_asyncgen_hooks(), sys.excepthook, sys.getswitchinterval(),
    )
before = state()
import snorky, snorky.request_handlers.websocket, snorky.request_handlers.http
import snorky.services.pubsub, snorky.testing, snorky.cli
assert state() == before, (state(), before)
try:
    asyncio.get_running_loop()
except RuntimeError:
    print("no loop")
"""
    assert run(program) == "no loop\n"


@pytest.mark.parametrize("blocked", [sorted(OPTIONAL)])
def test_without_the_extras_everything_else_can_be_imported(blocked: list[str]) -> None:
    names = [name for name in MODULES if name != "snorky.__main__" and not is_in(name, NEED_EXTRAS)]
    program = f"""
import importlib, importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is not installed here", name=name)
sys.meta_path.insert(0, Block())
for name in {names}:
    importlib.import_module(name)
print("all")
"""
    assert run(program) == "all\n"
