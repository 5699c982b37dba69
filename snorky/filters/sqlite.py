"""The comparisons of filters in SQLite's SQL.

It has neither instants nor decimals, so text is taken apart: seconds and fraction of an instant
are compared as numbers, whatever its zone. Decimals compare as SQLite's numbers do, which is exact
up to 15 digits; numbers in JSON beyond 64 bits are doubles.
"""

from __future__ import annotations

from datetime import date
from json import loads
from typing import Any

from snorky.filters import bounds
from snorky.filters.columns import BOOLEAN, DOUBLE, INTEGER, JSON, NAIVE_INSTANT, Operand
from snorky.filters.fragments import FALSE, TRUE, Fragment, joined, sql
from snorky.filters.values import (
    DAY,
    DECIMAL,
    IDENTIFIER,
    INSTANT,
    NUMBER,
    OTHER,
    TEXT,
    TIME,
    Constant,
    text_of,
)

_COMPARABLE = {INTEGER: NUMBER, DOUBLE: NUMBER, BOOLEAN: OTHER, NAIVE_INSTANT: INSTANT}
_FINITE = "{} BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308"
_SECOND = 1_000_000_000

# Of a text like 2026-01-31T12:00:00.5+02:00: what follows the fraction, seconds since 1970 (NULL
# for what is no date: it is given back changed), and the fraction in nanoseconds.
_ZONE = "ltrim(substr({}, 20), '.0123456789')"
_SECONDS = (
    "CASE WHEN date(substr({}, 1, 10)) = substr({}, 1, 10) "
    f"THEN CAST(strftime('%s', substr({{}}, 1, 19) || {_ZONE}) AS INTEGER) END"
)
_FRACTION = (
    "CAST(substr(substr({}, 21, max(0, length({}) - 20 - "
    f"length({_ZONE}))) || '000000000', 1, 9) AS INTEGER)"
)
_CLOCK = (
    "CASE WHEN {} GLOB '[0-2][0-9]:[0-5][0-9]:[0-5][0-9]*' THEN substr({}, 1, 8) || "
    "substr(CASE WHEN length({}) > 8 THEN substr({}, 9) ELSE '.' END || '000000000', 1, 10) END"
)
_BITS = (
    "CASE WHEN length({}) IN (32, 36) AND length(replace({}, '-', '')) = 32 "
    "AND {} NOT GLOB '*[^0-9a-fA-F-]*' THEN lower(replace({}, '-', '')) END"
)
_NUMBER = "CASE WHEN {} GLOB '*[0-9]*' AND {} NOT GLOB '*[^0-9eE.+-]*' THEN CAST({} AS NUMERIC) END"


class SQLite:
    def compare(self, operand: Operand, operator: str, constant: Constant) -> Fragment:
        kind, value = constant
        if operand.kind == JSON:
            return self._compare_json(operand, operator, kind, value)
        if kind != _COMPARABLE.get(operand.kind, operand.kind):
            return FALSE
        if operand.path:
            typed = self._compare_column(operand.kind, sql("e.value"), operator, constant)
            if typed in (TRUE, FALSE):
                return FALSE
            kinds = "'text', 'integer', 'real'" if operand.kind == DECIMAL else "'text'"
            return _there(operand, sql(f"e.type IN ({kinds}) AND {{}}", typed))
        return self._compare_column(operand.kind, sql("{}", operand.column), operator, constant)

    def one_of(self, operand: Operand, constants: list[Constant]) -> Fragment:
        wanted = _COMPARABLE.get(operand.kind, operand.kind)
        if operand.kind in (INTEGER, DOUBLE, TEXT) and not operand.path:
            found = []
            for kind, value in constants:
                comparison = _plain(operand.kind, "==", value) if kind == wanted else False
                if not isinstance(comparison, bool):
                    found.append(sql("{}", comparison[1]))
            if not found:
                return FALSE
            binary = " COLLATE BINARY" if operand.kind == TEXT else ""
            return sql(f"{{}}{binary} IN ({{}})", operand.column, joined(", ", found))
        parts = [self.compare(operand, "==", constant) for constant in constants]
        parts = [sql("COALESCE({}, FALSE)", part) for part in parts if part != FALSE]
        return sql("({})", joined(" OR ", parts)) if parts else FALSE

    def is_null(self, operand: Operand) -> Fragment:
        if operand.path:
            return _there(operand, sql("e.type = 'null'"))
        if operand.kind == JSON:
            return sql("({} IS NULL OR json_type({}) = 'null')", operand.column, operand.column)
        if operand.kind == DOUBLE:
            return sql(f"({{}} IS NULL OR NOT {_FINITE})", operand.column, operand.column)
        return sql("({} IS NULL)", operand.column)

    def is_present(self, operand: Operand) -> Fragment:
        return _there(operand, sql("1")) if operand.path else TRUE

    def _compare_column(
        self, kind: str, expression: Fragment, operator: str, constant: Constant
    ) -> Fragment:
        value = constant[1]
        sign = "=" if operator == "==" else operator
        if kind in (INTEGER, DOUBLE, TEXT):
            comparison = _plain(kind, operator, value)
            if isinstance(comparison, bool):
                if not comparison:
                    return FALSE
                return (
                    sql(_FINITE, expression)
                    if kind == DOUBLE
                    else sql("{} IS NOT NULL", expression)
                )
            return _compared(kind, expression, *comparison)
        if kind == BOOLEAN:
            return (
                sql("{} = {}", expression, int(value == "true"))
                if value in ("true", "false")
                else FALSE
            )
        if kind in (INSTANT, NAIVE_INSTANT):
            seconds, fraction = divmod(value, _SECOND)
            return sql(
                f"({{}}, {{}}) {sign} ({{}}, {{}})",
                _repeated(_SECONDS, expression),
                _repeated(_FRACTION, expression),
                seconds,
                fraction,
            )
        if kind == DAY:
            return sql(
                f"date({{}}) = {{}} AND {{}} {sign} {{}}",
                expression,
                expression,
                expression,
                date.fromordinal(value).isoformat(),
            )
        if kind == TIME:
            text = loads(text_of(constant))
            clock = (text if len(text) > 8 else f"{text}.").ljust(18, "0")
            return sql(f"{{}} {sign} {{}}", _repeated(_CLOCK, expression), clock)
        if kind == IDENTIFIER:
            return sql(f"{{}} {sign} {{}}", _repeated(_BITS, expression), f"{value:032x}")
        return sql(
            f"{{}} {sign} CAST({{}} AS NUMERIC)",
            _repeated(_NUMBER, expression),
            loads(text_of(constant)),
        )

    def _compare_json(self, operand: Operand, operator: str, kind: str, value: Any) -> Fragment:
        if kind == OTHER:
            if value in ("true", "false"):
                return _there(operand, sql(f"e.type = '{value}'"))
            same = "SELECT fullkey, CASE type WHEN 'integer' THEN 'real' ELSE type END, atom"
            return _there(
                operand,
                sql(
                    "e.type IN ('array', 'object') "
                    f"AND NOT EXISTS ({same} FROM json_tree(e.value) "
                    f"EXCEPT {same} FROM json_tree({{}})) "
                    f"AND NOT EXISTS ({same} FROM json_tree({{}}) "
                    f"EXCEPT {same} FROM json_tree(e.value))",
                    value,
                    value,
                ),
            )
        if kind == NUMBER:
            comparison = _json_number(operator, value)
            if isinstance(comparison, bool):
                if not comparison:
                    return FALSE
                return _there(operand, sql("e.type IN ('integer', 'real')"))
            sign = "=" if comparison[0] == "==" else comparison[0]
            return _there(
                operand,
                sql(f"e.type IN ('integer', 'real') AND e.value {sign} {{}}", comparison[1]),
            )
        comparison = bounds.text(operator, value, without_nul=False)
        if isinstance(comparison, bool):
            return FALSE
        return _there(
            operand, sql("e.type = 'text' AND {}", _compared(TEXT, sql("e.value"), *comparison))
        )


def _plain(kind: str, operator: str, value: Any) -> bounds.Comparison:
    if kind == INTEGER:
        return bounds.integer(operator, value)
    if kind == DOUBLE:
        return bounds.double(operator, value)
    return bounds.text(operator, value, without_nul=False)


def _json_number(operator: str, value: float) -> bounds.Comparison:
    if isinstance(value, int) and bounds.MIN_INTEGER <= value <= bounds.MAX_INTEGER:
        return (operator, value)
    try:
        return (operator, float(value))
    except OverflowError:
        return operator != "==" and (operator[0] == "<") == (value > 0)


def _compared(kind: str, expression: Fragment, operator: str, value: Any) -> Fragment:
    if operator == "startswith":
        start = value.encode()
        if not start:
            # What is cut from an empty blob is NULL.
            return sql("{} IS NOT NULL", expression)
        return sql("substr(CAST({} AS BLOB), 1, {}) = {}", expression, len(start), start)
    sign = "=" if operator == "==" else operator
    if kind == DOUBLE and sign != "=":
        return sql(f"({{}} {sign} {{}} AND {_FINITE})", expression, value, expression)
    binary = " COLLATE BINARY" if kind == TEXT else ""
    return sql(f"{{}}{binary} {sign} {{}}", expression, value)


def _there(operand: Operand, condition: Fragment) -> Fragment:
    """Whether the value that the path leads to, ``e.type`` and ``e.value``, meets a condition."""
    if not operand.path:
        return sql(
            "EXISTS (SELECT 1 FROM "
            "(SELECT json_type({}) AS type, json_extract({}, '$') AS value) AS e WHERE {})",
            operand.column,
            operand.column,
            condition,
        )
    json = sql("{}", operand.column)
    *path, last = operand.path
    # By name and not by a JSON path, in which some names cannot be written.
    for name in path:
        json = sql(
            "(SELECT o.value FROM json_each({}) AS o WHERE o.key = {} AND o.type = 'object')",
            json,
            name,
        )
    return sql(
        "EXISTS (SELECT 1 FROM json_each({}) AS e WHERE e.key = {} AND {})", json, last, condition
    )


def _repeated(template: str, expression: Fragment) -> Fragment:
    return sql(template, *[expression] * template.count("{}"))
