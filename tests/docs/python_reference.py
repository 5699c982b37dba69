"""What docs/reference/python lacks: names, and texts. ``python -m tests.docs.python_reference``

A program of its own: parts of the connector for Django can be imported only where Django is set up,
which a process can do once.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import snorky
from tests.test_public_surface import PROMISED

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(ROOT.glob("docs/reference/python/*.md"))
DIRECTIVE = re.compile(r"(?m)^\.\. (?P<kind>[\w:]+):: (?P<name>\S+)\n(?P<options>(?:   :.*\n)*)")
OPTION = re.compile(r":(?P<name>[\w-]+): ?(?P<values>.*)\n")
EXCUSED = {
    "snorky.__version__": "told on the first page",
    "snorky.version": "told on the first page",
    "snorky.backend.draining.Drainer": "the connectors' own",
    "snorky.backend.draining.PostgreSQLOutbox": "the connectors' own",
    "snorky.backend.draining.SQLiteOutbox": "the connectors' own",
    "snorky.backend.draining.Turns": "the connectors' own",
    "snorky.cli.demo.can_show_a_browser": "the demos are programs of the house",
    "snorky.cli.server.close_clients": "the demos are programs of the house",
    "snorky.testing.brokers.BrokerContract": "its tests are to be run, and told of on its page",
    "snorky.testing.brokers.engine.EngineContract": "its tests are to be run",
}
"""Public name -> why it has no place in the reference."""


def public_names() -> dict[str, list[str]]:
    """Module -> names: those of ``__all__``, those promised, those that examples import."""
    public = {module: set(names) for module, *names in PROMISED}
    for found in pkgutil.walk_packages(snorky.__path__, "snorky."):
        if "__main__" not in found.name:
            names = getattr(importlib.import_module(found.name), "__all__", ())
            if names:
                public.setdefault(found.name, set()).update(names)
    for folder in ("docs/examples", "demos"):
        for file in ROOT.glob(f"{folder}/**/*.py"):
            for module, name in imports_in(file):
                public.setdefault(module, set()).add(name)
    return {module: sorted(names) for module, names in sorted(public.items())}


def imports_in(file: Path) -> Iterator[tuple[str, str]]:
    if "node_modules" in file.parts:
        return
    for node in ast.walk(ast.parse(file.read_text())):
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and module.split(".")[0] == "snorky":
            for alias in node.names:
                if not hasattr(importlib.import_module(module), "__path__") or not is_module(
                    f"{module}.{alias.name}"
                ):
                    yield module, alias.name


def is_module(name: str) -> bool:
    return name in sys.modules and inspect.ismodule(sys.modules[name])


def shown_names() -> Iterator[tuple[str, str]]:
    """What the directives of the pages show: full name, and the kind of the directive."""
    for page in PAGES:
        for directive in DIRECTIVE.finditer(page.read_text()):
            options = dict(OPTION.findall(directive["options"]))
            if directive["kind"] != "automodule":
                yield directive["name"], directive["kind"]
                continue
            named = options.get("members", "")
            all_of = importlib.import_module(directive["name"]).__dict__.get("__all__", ())
            left_out = set(split(options.get("exclude-members", "")))
            for name in split(named) or all_of:
                if name not in left_out:
                    yield f"{directive['name']}.{name}", "automodule"


def split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def value_of(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def missing_names(public: dict[str, list[str]], shown: set[str]) -> Iterator[str]:
    """A name is there too where what it means is, under another name."""
    places = {id(value_of(name)) for name in shown}
    for module, names in public.items():
        for name in names:
            full = f"{module}.{name}"
            is_there = full in shown or id(value_of(full)) in places
            if not is_there and full not in EXCUSED:
                yield f"{full} is on no page of docs/reference/python"
            if is_there and full in EXCUSED:
                yield f"{full} needs no excuse"


def missing_texts(name: str) -> Iterator[str]:
    """A class, its methods, properties and attributes; a function; a value."""
    documented = value_of(name)
    module, _, attribute = name.rpartition(".")
    if inspect.isclass(documented):
        attributes = [each for each in vars(documented) if not each.startswith("_")]
        silent = [each for each in attributes if not says_something(documented, each)]
        yield from (f"{name}.{each} has no docstring" for each in silent)
    has_text = documented.__doc__ if callable(documented) else False
    if not has_text and ("", attribute) not in attribute_texts(module):
        yield f"{name} has no docstring"


def says_something(owner: type, attribute: str) -> bool:
    """By a text of its own, that of a base's, or in the docstring of the class."""
    value = inspect.getattr_static(owner, attribute)
    is_code = inspect.isroutine(value) or isinstance(value, property | classmethod | staticmethod)
    if is_code and inspect.getdoc(getattr(owner, attribute)):
        return True
    bases = [base for base in owner.__mro__ if base.__module__.startswith("snorky")]
    return any(
        (base.__qualname__, attribute) in attribute_texts(base.__module__)
        or re.search(rf"`{attribute}\b", base.__doc__ or "")
        for base in bases
    )


def attribute_texts(module: str) -> dict[tuple[str, str], list[str]]:
    """(class or nothing, attribute) -> the string that follows it."""
    return ModuleAnalyzer.for_module(module).find_attr_docs()


def faults() -> Iterator[str]:
    shown = dict(shown_names())
    yield from missing_names(public_names(), set(shown))
    for name, kind in sorted(shown.items()):
        if kind == "autoclass":  # without its members
            yield from () if value_of(name).__doc__ else (f"{name} has no docstring",)
        elif kind != "py:data":  # whose text is on the page
            yield from missing_texts(name)


if __name__ == "__main__":
    import django
    from django.conf import settings

    settings.configure(
        INSTALLED_APPS=["rest_framework"], SNORKY_BACKEND_URL="http://localhost", SNORKY_API_KEY="-"
    )
    django.setup()
    print(*faults(), sep="\n")
