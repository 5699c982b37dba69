"""Filters as functions of facts. Filters of one shape share one function, whatever they compare.

A shape is a filter without its fields and constants: those are the function's arguments. So a
million filters need a handful of functions, and nothing that a client wrote becomes source text.
Shapes that few filters have, or large ones, are walked instead of compiled: three times slower to
check, but whoever sends a thousand shapes does not fill the memory with code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from snorky.filters.facts import NOT_NULL, PRESENT
from snorky.filters.nodes import Group, Leaf, Node
from snorky.filters.values import Constant

Get = Callable[[str], Any]
Test = Callable[[Get, tuple[Any, ...]], bool]

Program = tuple[str, Any]
"""``(operator, offset of its first argument)``, or ``("and" | "or", programs)``."""

MAX_COMPILED_LEAVES = 32
MAX_COMPILED_SHAPES = 1_000
MAX_MEMBERS_IN_A_TUPLE = 12
COMPILED_FROM = 4
"""As many filters of one shape make it worth to compile it."""

KEYS = {"eq": 1, "ne": 2, "in": 1, "lt": 1, "le": 1, "gt": 1, "ge": 1, "sw": 1, "has": 1, "no": 1}
"""How many of an operator's arguments are keys of facts; they come first."""

_CONSTANTS = {"has": 0, "no": 0}
_ORDER = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}

_EXPRESSIONS = {
    "eq": "get({0}) == {1}",
    # A row that has the field, but nothing of the constant's kind there, differs.
    "ne": "get({0}) is not None and get({1}) != {2}",
    "in": "get({0}) in {1}",
    "lt": "(v := get({0})) is not None and v < {1}",
    "le": "(v := get({0})) is not None and v <= {1}",
    "gt": "(v := get({0})) is not None and v > {1}",
    "ge": "(v := get({0})) is not None and v >= {1}",
    "sw": "(v := get({0})) is not None and v.startswith({1})",
    "has": "get({0}) is not None",
    "no": "get({0}) is None",
}


def arity(operator: str) -> int:
    return KEYS[operator] + _CONSTANTS.get(operator, 1)


class Lowered:
    """A canonical filter in terms of facts: its program and the program's arguments."""

    def __init__(self, node: Node) -> None:
        self.arguments: list[Any] = []
        self.program = self._lower(node)

    def _lower(self, node: Node) -> Program:
        if isinstance(node, Group):
            return (node.operator, tuple([self._lower(part) for part in node.parts]))
        return self._lower_leaf(node)

    def _lower_leaf(self, leaf: Leaf) -> Program:
        name, field, value, positive = leaf
        if name == "isnull":
            return self._leaf("no" if positive else "has", f"{NOT_NULL}:{field}")
        if name == "in":
            return self._membership(field, value, positive)
        kind, constant = value
        key = f"{kind}:{field}"
        if name == "==":
            return self._leaf("eq" if positive else "!eq", key, constant)
        if name == "!=":
            present = f"{PRESENT}:{field}"
            return self._leaf("ne" if positive else "!ne", present, key, constant)
        operator = "sw" if name == "startswith" else _ORDER[name]
        return self._leaf(operator if positive else f"!{operator}", key, constant)

    def _membership(self, field: str, constants: tuple[Constant, ...], positive: bool) -> Program:
        by_kind: dict[str, list[Any]] = {}
        for kind, constant in constants:
            by_kind.setdefault(kind, []).append(constant)
        parts = [
            self._leaf("in" if positive else "!in", f"{kind}:{field}", _members(found))
            if len(found) > 1
            else self._leaf("eq" if positive else "!eq", f"{kind}:{field}", found[0])
            for kind, found in by_kind.items()
        ]
        if len(parts) == 1:
            return parts[0]
        return ("or" if positive else "and", tuple(parts))

    def _leaf(self, operator: str, *arguments: Any) -> Program:
        offset = len(self.arguments)
        self.arguments += arguments
        return (operator, offset)


def _members(values: list[Any]) -> Any:
    """A tuple where it is as quick to search: it takes a quarter of the memory."""
    return tuple(values) if len(values) <= MAX_MEMBERS_IN_A_TUPLE else frozenset(values)


def leaves_of(program: Program) -> list[tuple[str, int]]:
    operator, rest = program
    if operator == "and" or operator == "or":
        return [leaf for part in rest for leaf in leaves_of(part)]
    return [program]


def _has_or(program: Program) -> bool:
    operator, rest = program
    return operator == "or" or (operator == "and" and any(map(_has_or, rest)))


def key_offsets(program: Program) -> list[int]:
    """Where in the arguments the keys of facts are."""
    return [
        offset + index
        for operator, offset in leaves_of(program)
        for index in range(KEYS[operator.removeprefix("!")])
    ]


class Shape:
    """One shape, while at least one filter has it."""

    __slots__ = (
        "compiled",
        "count",
        "has_or",
        "key_offsets",
        "leaves",
        "one_is_enough",
        "operators",
        "program",
        "test",
    )

    def __init__(self, program: Program) -> None:
        self.program = program
        self.key_offsets = key_offsets(program)
        self.operators = {offset: operator for operator, offset in leaves_of(program)}
        self.leaves = len(self.operators)
        self.has_or = _has_or(program)
        # Whether each of its predicates makes it true by itself.
        self.one_is_enough = program[0] not in ("and", "or") or (
            program[0] == "or" and all(part[0] not in ("and", "or") for part in program[1])
        )
        self.count = 0
        self.compiled = False
        self.test: Test = partial(walk, program)

    def compile(self) -> None:
        self.test = compiled(self.program)
        self.compiled = True

    def forget_code(self) -> None:
        self.test = partial(walk, self.program)
        self.compiled = False


class Shapes:
    """The shapes in use. Code is made for those that many filters have, at most for a thousand."""

    def __init__(self, limit: int = MAX_COMPILED_SHAPES) -> None:
        self._limit = limit
        self._shapes: dict[Program, Shape] = {}
        self._compiled: set[Shape] = set()

    def __len__(self) -> int:
        return len(self._shapes)

    def take(self, program: Program) -> Shape:
        shape = self._shapes.get(program)
        if shape is None:
            shape = self._shapes[program] = Shape(program)
        shape.count = count = shape.count + 1
        # At powers of two only: a thousand shapes that wait for code do not cost every filter.
        if not shape.compiled and count >= COMPILED_FROM and not count & (count - 1):
            self._compile(shape)
        return shape

    def release(self, shape: Shape) -> None:
        shape.count -= 1
        if not shape.count:
            del self._shapes[shape.program]
            self._compiled.discard(shape)

    def _compile(self, shape: Shape) -> None:
        if shape.leaves > MAX_COMPILED_LEAVES:
            return
        if len(self._compiled) >= self._limit:
            rarest = min(self._compiled, key=lambda compiled: compiled.count)
            if rarest.count >= shape.count:
                return
            rarest.forget_code()
            self._compiled.remove(rarest)
        shape.compile()
        self._compiled.add(shape)


def compiled(program: Program) -> Test:
    """The function of a program. Its text holds operators and argument numbers, nothing else."""
    leaves = leaves_of(program)
    count = sum(arity(operator.removeprefix("!")) for operator, _ in leaves)
    lines = ["def test(get, arguments):"]
    if count:
        lines.append(f"    {''.join(f'a{index}, ' for index in range(count))} = arguments")
    lines.append(f"    return {_expression(program)}")
    scope: dict[str, Any] = {}
    exec("\n".join(lines), scope)  # noqa: S102 (made of operators and numbers alone)
    test: Test = scope["test"]
    return test


def _expression(program: Program) -> str:
    operator, rest = program
    if operator == "and" or operator == "or":
        if not rest:
            return "True" if operator == "and" else "False"
        return f" {operator} ".join(f"({_expression(part)})" for part in rest)
    plain = operator.removeprefix("!")
    names = [f"a{rest + index}" for index in range(arity(plain))]
    expression = _EXPRESSIONS[plain].format(*names)
    return f"not ({expression})" if operator[0] == "!" else expression


def walk(program: Program, get: Get, arguments: tuple[Any, ...]) -> bool:
    """What the compiled function answers, without compiling one."""
    operator, rest = program
    if operator == "and":
        for part in rest:  # noqa: SIM110 (all() costs twice the time here)
            if not walk(part, get, arguments):
                return False
        return True
    if operator == "or":
        for part in rest:  # noqa: SIM110
            if walk(part, get, arguments):
                return True
        return False
    if operator[0] == "!":
        return not _leaf_is_true(operator[1:], rest, get, arguments)
    return _leaf_is_true(operator, rest, get, arguments)


def _leaf_is_true(operator: str, offset: int, get: Get, arguments: tuple[Any, ...]) -> bool:
    value = get(arguments[offset])
    if operator == "eq":
        return bool(value == arguments[offset + 1])
    if operator == "in":
        return value in arguments[offset + 1]
    if operator == "ne":
        return value is not None and bool(get(arguments[offset + 1]) != arguments[offset + 2])
    if value is None:
        return operator == "no"
    if operator == "has" or operator == "no":
        return operator == "has"
    constant = arguments[offset + 1]
    if operator == "sw":
        return bool(value.startswith(constant))
    if operator == "lt" or operator == "le":
        return bool(value < constant if operator == "lt" else value <= constant)
    return bool(value > constant if operator == "gt" else value >= constant)
