"""Filters as conditions of a database: true for the rows whose JSON the filter matches.

The logic has two values there, too: a comparison with NULL is false, and its negation true.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from snorky.filters.columns import Dialect, Operand, operand_of
from snorky.filters.fragments import FALSE, TRUE, Fragment, joined, sql, truth
from snorky.filters.grammar import BadQuery
from snorky.filters.nodes import Filter, Group, Leaf, Node
from snorky.filters.postgresql import PostgreSQL
from snorky.filters.sqlite import SQLite
from snorky.filters.values import NULL, Constant


def dialect_of(name: str) -> Dialect:
    """``postgresql`` or ``sqlite``."""
    return PostgreSQL() if name == "postgresql" else SQLite()


def translated(filter: Filter, kinds: Mapping[str, str], dialect: Dialect) -> Fragment:  # noqa: A002
    return _translated(filter.node, kinds, dialect)


def fields_in(node: Node) -> set[str]:
    if isinstance(node, Leaf):
        return {node.field}
    return {field for part in node.parts for field in fields_in(part)}


def refuse_others(parsed: Filter, kinds: Mapping[str, str], names: Collection[str]) -> None:
    """Raise BadQuery where the filter names a column whose type it has no values of."""
    for field in sorted(fields_in(parsed.node)):
        name = field.partition(".")[0]
        if name in names and name not in kinds:
            raise BadQuery(f"the field {name!r} holds what a filter cannot compare")


def _translated(node: Node, kinds: Mapping[str, str], dialect: Dialect) -> Fragment:
    if isinstance(node, Group):
        parts = [_translated(part, kinds, dialect) for part in node.parts]
        if not parts:
            return TRUE if node.operator == "and" else FALSE
        return sql("({})", joined(f" {node.operator.upper()} ", parts))
    operand = operand_of(node.field, kinds)
    if operand is None:
        return truth((node.operator == "isnull") is node.positive)
    fragment = _leaf(node, operand, dialect)
    if fragment in (TRUE, FALSE):
        return truth((fragment == TRUE) is node.positive)
    return fragment if node.positive else sql("NOT {}", fragment)


def _leaf(leaf: Leaf, operand: Operand, dialect: Dialect) -> Fragment:
    """Never NULL; without the leaf's sign."""
    name, _, value, _ = leaf
    if name == "isnull":
        null, present = dialect.is_null(operand), dialect.is_present(operand)
        return null if present == TRUE else sql("({} OR NOT {})", null, present)
    if name == "!=":
        equal = _equal(operand, [value], dialect)
        return sql("({} AND NOT {})", dialect.is_present(operand), equal)
    if name == "==":
        return _equal(operand, [value], dialect)
    if name == "in":
        return _equal(operand, list(value), dialect)
    return two_valued(dialect.compare(operand, name, value))


def _equal(operand: Operand, constants: list[Constant], dialect: Dialect) -> Fragment:
    parts = []
    if NULL in constants:
        parts.append(dialect.is_null(operand))
        constants = [constant for constant in constants if constant != NULL]
    if len(constants) == 1:
        parts.append(two_valued(dialect.compare(operand, "==", constants[0])))
    elif constants:
        parts.append(two_valued(dialect.one_of(operand, constants)))
    parts = [part for part in parts if part != FALSE]
    if not parts:
        return FALSE
    return parts[0] if len(parts) == 1 else sql("({})", joined(" OR ", parts))


def two_valued(fragment: Fragment) -> Fragment:
    return fragment if fragment in (TRUE, FALSE) else sql("COALESCE({}, FALSE)", fragment)
