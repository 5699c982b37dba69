"""The filter language: what a filter may say, checked, and brought into one form.

A filter is JSON in prefix notation, e.g. ``["and", ["==", "team", 3], ["<", "price", "9.50"]]``.
`parse` refuses what is malformed and says what is wrong and where. What it returns is canonical:
filters that differ only in how they are written are equal.
"""

from __future__ import annotations

from typing import Any

from snorky.filters import values
from snorky.filters.canonical import canonicalised
from snorky.filters.nodes import FALSE, TRUE, Filter, Group, Leaf, Node, one_of
from snorky.filters.values import MAX_PLAIN_INTEGER, NUMBER, ORDERED, TEXT, Constant, Types

MAX_DEPTH = 32
"""How deep a filter, and a value in it, may be nested."""

MAX_COMPARISONS = 1_000
"""Comparisons in a filter. Each value of an ``in`` is one."""

MAX_FIELD_CHARACTERS = 1_000
MAX_NUMBER_BITS = 14_000
"""Of an integer: about 4,200 digits, fewer than Python refuses to write down."""

ORDER = ("<", "<=", ">", ">=")
OPERATORS = ("==", "!=", *ORDER, "in", "and", "or", "not", "isnull", "startswith")


class BadQuery(ValueError):
    """A query that no dealer can answer; its text, which the web application gets, says why."""


def parse(filter: Any, types: Types | None = None) -> Filter:  # noqa: A002 (the language's word)
    """Check a filter and bring it into its canonical form. Raises BadQuery.

    ``types`` maps fields to Decimal, datetime, date, time or UUID where their text is to be
    compared as such.
    """
    return parse_by_kinds(filter, values.kinds_of(types))


def parse_by_kinds(filter: Any, kinds: dict[str, str]) -> Filter:  # noqa: A002
    try:
        return Filter(*canonicalised(_Parser(kinds).parse(filter, True, 1)))
    except _Fault as fault:
        raise BadQuery(str(fault)) from fault.__cause__


class _Fault(Exception):
    """What is wrong; on the way out it learns where."""

    def __init__(self, text: str, path: tuple[int, ...] = ()) -> None:
        super().__init__(text)
        self.path = list(path)
        """The indexes that lead to the fault, the innermost first."""

    def __str__(self) -> str:
        where = "".join(f"[{index}]" for index in reversed(self.path))
        return f"{self.args[0]}, at {where}" if where else str(self.args[0])


class _TooLarge(_Fault):
    """A fault of the filter as a whole: it stands nowhere."""

    def __str__(self) -> str:
        return str(self.args[0])


class _Parser:
    """Reads one filter. Negations sink to the leaves on the way."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self.kinds = kinds
        self.comparisons = 0

    def parse(self, node: Any, positive: bool, depth: int) -> Node:
        if not isinstance(node, (list, tuple)):
            raise _Fault(f'a filter is an array like ["==", field, value]; got {describe(node)}')
        if depth > MAX_DEPTH:
            raise _TooLarge(f"the filter is nested deeper than {MAX_DEPTH} levels")
        if len(node) == 0:  # A builder's condition has no truth.
            raise _Fault("a filter begins with an operator; got an empty array")
        name = node[0]
        if name == "and" or name == "or":
            if len(node) == 1:
                # They are leaves that cost as much.
                self.count(1)
            parts = []
            for index in range(1, len(node)):
                try:
                    parts.append(self.parse(node[index], positive, depth + 1))
                except _Fault as fault:
                    fault.path.append(index)
                    raise
            return Group("and" if (name == "and") is positive else "or", tuple(parts))
        if name == "not":
            if len(node) != 2:
                raise _Fault(f"'not' takes one filter; got {len(node) - 1} arguments")
            try:
                return self.parse(node[1], not positive, depth + 1)
            except _Fault as fault:
                fault.path.append(1)
                raise
        if isinstance(name, str) and name in OPERATORS:
            return self.comparison(str(name), node, positive)
        raise _Fault(f"unknown operator {describe(name)}; expected one of {', '.join(OPERATORS)}")

    def count(self, comparisons: int) -> None:
        self.comparisons += comparisons
        if self.comparisons > MAX_COMPARISONS:
            raise _TooLarge(f"the filter has more than {MAX_COMPARISONS} comparisons")

    def comparison(self, name: str, node: Any, positive: bool) -> Node:
        if len(node) != 3:
            what = {"in": "an array of values", "isnull": "true or false", "startswith": "a text"}
            raise _Fault(
                f"'{name}' takes a field and {what.get(name, 'a value')}; "
                f"got {len(node) - 1} arguments"
            )
        _, field, value = node
        if not isinstance(field, str):
            raise _Fault(f"the field of '{name}' must be a string; got {describe(field)}")
        if len(field) > MAX_FIELD_CHARACTERS or field.count(".") >= MAX_DEPTH:
            raise _Fault(
                f"a field has at most {MAX_FIELD_CHARACTERS} characters and {MAX_DEPTH} names"
            )
        field = str(field)
        if name == "in":
            return self.membership(field, value, positive)
        self.count(1)
        if name == "isnull":
            if not isinstance(value, bool):
                raise _Fault(f"'isnull' takes a field and true or false; got {describe(value)}")
            return Leaf(name, field, None, value is positive)
        if name == "startswith":
            if not isinstance(value, str):
                raise _Fault(f"'startswith' takes a field and a text; got {describe(value)}")
            if field in self.kinds:
                kind = values.DESCRIPTIONS[self.kinds[field]]
                raise _Fault(f"'startswith' is for text; the field {describe(field)} is {kind}")
            return Leaf(name, field, (TEXT, str(value)), positive)
        constant = self.constant(name, field, value)
        if name in ORDER and constant[0] not in ORDERED:
            return FALSE if positive else TRUE
        return Leaf(name, field, constant, positive)

    def membership(self, field: str, value: Any, positive: bool) -> Node:
        if not isinstance(value, (list, tuple)):
            raise _Fault(f"'in' takes a field and an array of values; got {describe(value)}")
        self.count(max(1, len(value)))
        constants = []
        for index, one in enumerate(value):
            try:
                constants.append(self.constant("in", field, one))
            except _Fault as fault:
                fault.path += [index, 2]
                raise
        return one_of(field, constants, positive)

    def constant(self, name: str, field: str, value: Any) -> Constant:
        """Raises _Fault where the value is no JSON, or not of the field's type."""
        kind = self.kinds.get(field)
        if kind is None:  # the common ones, at once
            if type(value) is str:
                return (TEXT, value)
            if type(value) is int and -MAX_PLAIN_INTEGER < value < MAX_PLAIN_INTEGER:
                return (NUMBER, value)
        if isinstance(value, (dict, list, tuple)):
            _check_depth(value, 1)
        elif isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
            raise _Fault(f"a number in the filter has more than {MAX_NUMBER_BITS} bits")
        if kind is not None and value is not None:
            if isinstance(value, str) and len(value) > MAX_FIELD_CHARACTERS:
                comparable = None
            else:
                comparable = values.CONVERT[kind](value)
            if comparable is None:
                expected = values.DESCRIPTIONS[kind]
                raise _Fault(
                    f"'{name}' compares the field {describe(field)} with {expected}; "
                    f"got {describe(value)}"
                )
            return (kind, comparable)
        try:
            return values.constant_of(value)
        except (TypeError, ValueError) as error:
            raise _Fault(f"expected a JSON value: {_cut(str(error))}") from error


def _check_depth(value: Any, depth: int) -> None:
    if isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
        raise _Fault(f"a number in the filter has more than {MAX_NUMBER_BITS} bits")
    if isinstance(value, float) and not values.is_finite(value):
        raise _Fault(f"expected a JSON value: {value} is not JSON")
    if not isinstance(value, (dict, list, tuple)):
        return
    if depth > MAX_DEPTH:
        raise _Fault(f"a value in the filter is nested deeper than {MAX_DEPTH} levels")
    for child in value.values() if isinstance(value, dict) else value:
        _check_depth(child, depth + 1)


def describe(value: Any) -> str:
    """Says in a few words what came; never its whole text, which may be huge."""
    if isinstance(value, str):
        return repr(_cut(value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "an array"
    return "a number" if isinstance(value, (int, float)) else f"a Python {type(value).__name__}"


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "..."
