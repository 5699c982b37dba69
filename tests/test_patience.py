"""Every deadline of a test can be stretched: ``patient(seconds)``, and no bare number."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
FILES = [file for file in sorted(TESTS.rglob("*.py")) if "node_modules" not in file.parts]
# What is shorter is no deadline but what is tested: something that is not to happen meanwhile.
SHORTEST = 2
WAITS = {"timeout": 1, "wait": 1, "join": 1, "result": 1, "wait_for": 2}
"""Methods that take a deadline as the last of so many arguments."""
NAMES = re.compile(r"(DEADLINE|RECOVERY|TIMEOUT)(_|$)|^(deadline|timeout)(_|$)")


def bare_deadlines(source: str) -> Iterator[ast.Constant]:
    """The numbers that say how long something waits."""
    for node in ast.walk(ast.parse(source)):
        given: list[ast.expr | None] = []
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute) and len(node.args) == WAITS.get(function.attr):
                given.append(node.args[-1])
            if not (isinstance(function, ast.Name) and function.id in ("Limits", "replace")):
                given += [option.value for option in node.keywords if option.arg == "timeout"]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given += [node.value] if NAMES.search(node.targets[0].id) else []
        elif isinstance(node, ast.arguments):
            arguments = [*node.posonlyargs, *node.args]
            arguments = [*arguments[len(arguments) - len(node.defaults) :], *node.kwonlyargs]
            named = zip(arguments, [*node.defaults, *node.kw_defaults], strict=True)
            given += [value for argument, value in named if NAMES.search(argument.arg)]
        yield from filter(_is_long, given)


def _is_long(value: ast.expr | None) -> bool:
    number = value.value if isinstance(value, ast.Constant) else None
    return type(number) in (int, float) and number >= SHORTEST


def test_no_deadline_is_a_bare_number() -> None:
    found = [
        f"{file.relative_to(TESTS.parent)}:{number.lineno}: {number.value}"
        for file in FILES
        for number in bare_deadlines(file.read_text())
    ]
    assert found == [], "wait for patient(seconds)"


def test_they_are_found_where_they_are() -> None:
    source = """
async def wait(a, /, b, deadline=10, *, timeout=20, c=5): ...
asyncio.timeout(10); asyncio.wait_for(a, 10); done.wait(10); thread.join(10); ", ".join(a)
run(command, timeout=60); Limits(timeout=60); call(timeout=0.1); asyncio.timeout(None)
RECOVERY_MS = 30_000; DEADLINE = patient(10)
"""
    numbers = [number.value for number in bare_deadlines(source)]
    assert sorted(numbers) == [10, 10, 10, 10, 10, 20, 60, 30_000]
