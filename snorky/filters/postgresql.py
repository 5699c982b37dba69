"""The comparisons of filters in PostgreSQL's SQL.

Texts are compared by their bytes, whatever the collation of a column, and still by its index where
that can help. Doubles that JSON lacks (NaN, Infinity) are null, as they are in JSON; decimals that
are no number are equal to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from json import loads
from typing import Any
from uuid import UUID

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
)

_CASTS = {
    INTEGER: "bigint",
    DOUBLE: "double precision",
    TEXT: "text",
    DECIMAL: "numeric",
    INSTANT: "timestamptz",
    NAIVE_INSTANT: "timestamp",
    DAY: "date",
    TIME: "time",
    IDENTIFIER: "uuid",
}
# Of filters' constants, by kinds of columns.
_COMPARABLE = {INTEGER: NUMBER, DOUBLE: NUMBER, BOOLEAN: OTHER, NAIVE_INSTANT: INSTANT}
_DECIMAL_TEXT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"


class PostgreSQL:
    def compare(self, operand: Operand, operator: str, constant: Constant) -> Fragment:
        kind, value = constant
        if operand.kind == JSON:
            return self._compare_json(operand, operator, kind, value)
        if kind != _COMPARABLE.get(operand.kind, operand.kind):
            return FALSE
        comparison = comparison_with(operand.kind, operator, value)
        expression = self._expression(operand)
        if isinstance(comparison, bool):
            return sql("({} IS NOT NULL)", self._finite(operand)) if comparison else FALSE
        return self._comparison(operand.kind, expression, *comparison)

    def one_of(self, operand: Operand, constants: list[Constant]) -> Fragment:
        if operand.kind == JSON or operand.kind == BOOLEAN:
            return _any(self.compare(operand, "==", constant) for constant in constants)
        wanted = _COMPARABLE.get(operand.kind, operand.kind)
        found: list[Any] = []
        for kind, value in constants:
            comparison = comparison_with(operand.kind, "==", value) if kind == wanted else False
            if not isinstance(comparison, bool):
                found.append(comparison[1])
        if not found:
            return FALSE
        cast = _CASTS[operand.kind]
        values = joined(", ", [sql(f"CAST({{}} AS {cast})", value) for value in found])
        expression = self._expression(operand)
        if operand.kind == TEXT:
            bytewise = sql('(CAST({} AS text) COLLATE "C") IN ({})', expression, values)
            return sql("({} IN ({}) AND {})", expression, values, bytewise)
        return sql("({} IN ({}))", expression, values)

    def is_null(self, operand: Operand) -> Fragment:
        if operand.path:
            return sql("COALESCE(jsonb_typeof({}) = 'null', FALSE)", _json(operand))
        if operand.kind == JSON:
            return sql("({} IS NULL OR jsonb_typeof({}) = 'null')", operand.column, _json(operand))
        return sql("({} IS NULL)", self._finite(operand))

    def is_present(self, operand: Operand) -> Fragment:
        return sql("({} IS NOT NULL)", _json(operand)) if operand.path else TRUE

    def _finite(self, operand: Operand) -> Fragment:
        """The operand; NULL for doubles that JSON lacks."""
        expression = self._expression(operand)
        if operand.kind != DOUBLE:
            return expression
        return sql(
            "CASE WHEN {} BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308 THEN {} END",
            expression,
            expression,
        )

    def _comparison(self, kind: str, expression: Fragment, operator: str, value: Any) -> Fragment:
        if operator == "startswith":
            # Escaped LIKE has no byte-wise meaning under every collation; this has.
            return sql(
                '(starts_with(CAST({} AS text) COLLATE "C", CAST({} AS text)))', expression, value
            )
        sign = "=" if operator == "==" else operator
        cast = _CASTS.get(kind)
        constant = sql(f"CAST({{}} AS {cast})", value) if cast else sql("{}", value)
        if kind == TEXT:
            bytewise = sql(f'(CAST({{}} AS text) COLLATE "C") {sign} {{}}', expression, constant)
            if sign == "=":
                return sql("({} = {} AND {})", expression, constant, bytewise)
            return sql("({})", bytewise)
        compared = sql(f"{{}} {sign} {{}}", expression, constant)
        if kind == DOUBLE and sign != "=":
            finite = "{} BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308"
            return sql(f"({{}} AND {finite})", compared, expression)
        if kind == DECIMAL and sign != "=":
            # NaN is the largest number there.
            end = "{} < 'Infinity'" if sign[0] == ">" else "{} > '-Infinity'"
            return sql(f"({{}} AND {end})", compared, expression)
        return sql("({})", compared)

    def _expression(self, operand: Operand) -> Fragment:
        if not operand.path:
            return sql("{}", operand.column)
        # A value with a type inside JSON: NULL where the text there is none.
        json = _json(operand)
        text = sql("({} #>> CAST(ARRAY[] AS text[]))", json)
        cast = _CASTS[operand.kind]
        if operand.kind == DECIMAL:
            return sql(
                f"CASE WHEN jsonb_typeof({{}}) IN ('number', 'string') "
                f"AND {{}} ~ '{_DECIMAL_TEXT}' THEN CAST({{}} AS numeric) END",
                json,
                text,
                text,
            )
        return sql(
            f"CASE WHEN jsonb_typeof({{}}) = 'string' AND {{}} ~ '^[0-9a-fA-F]' "
            f"AND pg_input_is_valid({{}}, '{cast}') THEN CAST({{}} AS {cast}) END",
            json,
            text,
            text,
            text,
        )

    def _compare_json(self, operand: Operand, operator: str, kind: str, value: Any) -> Fragment:
        json = _json(operand)
        if kind == OTHER:
            if not _fits_jsonb(loads(value)):
                return FALSE
            return sql("({} = CAST({} AS jsonb))", json, value)
        if kind == NUMBER:
            number = bounds.exact_decimal(value)
            sign = "=" if operator == "==" else operator
            if abs(number.adjusted()) > 100_000:
                return (
                    FALSE if sign == "=" or (sign[0] == "<") != (value > 0) else _is(json, "number")
                )
            return sql(
                f"CASE WHEN jsonb_typeof({{}}) = 'number' "
                f"THEN CAST({{}} AS numeric) {sign} CAST({{}} AS numeric) END",
                json,
                json,
                number,
            )
        comparison = bounds.text(operator, value, without_nul=True)
        if isinstance(comparison, bool):
            return FALSE
        text = sql("({} #>> CAST(ARRAY[] AS text[]))", json)
        return sql(
            "CASE WHEN jsonb_typeof({}) = 'string' THEN {} END",
            json,
            self._comparison(TEXT, text, *comparison),
        )


def comparison_with(kind: str, operator: str, value: Any) -> bounds.Comparison:
    """The constant as a column of this kind compares it."""
    if kind == INTEGER:
        return bounds.integer(operator, value)
    if kind == DOUBLE:
        return bounds.double(operator, value)
    if kind == TEXT:
        return bounds.text(operator, value, without_nul=True)
    if kind == BOOLEAN:
        return (operator, value == "true") if value in ("true", "false") else False
    if kind in (INSTANT, NAIVE_INSTANT):
        comparison = bounds.instant(operator, value)
        return comparison if isinstance(comparison, bool) else _instant(kind, *comparison)
    if kind == DAY:
        return (operator, date.fromordinal(value))
    if kind == TIME:
        comparison = bounds.instant(operator, value)
        return comparison if isinstance(comparison, bool) else _time(*comparison)
    if kind == IDENTIFIER:
        return (operator, UUID(int=value))
    return (operator, value)


def _instant(kind: str, operator: str, microseconds: int) -> bounds.Comparison:
    epoch = datetime(1970, 1, 1, tzinfo=UTC if kind == INSTANT else None)
    try:
        return (operator, epoch + timedelta(microseconds=microseconds))
    except OverflowError:
        # A zone led out of the years that there are.
        return operator != "==" and (operator[0] == "<") == (microseconds > 0)


def _time(operator: str, microseconds: int) -> bounds.Comparison:
    return (operator, (datetime.min + timedelta(microseconds=microseconds)).time())


def _json(operand: Operand) -> Fragment:
    """The JSON that the path leads to; NULL where it leads nowhere."""
    json = sql("CAST({} AS jsonb)", operand.column)
    for name in operand.path:
        if bounds.text("==", name, without_nul=True) is False:
            return sql("CAST(NULL AS jsonb)")
        # Not #>, for which "0" is an element of an array.
        json = sql("({} -> CAST({} AS text))", json, name)
    return json


def _is(json: Fragment, kind: str) -> Fragment:
    return sql(f"(jsonb_typeof({{}}) = '{kind}')", json)


def _fits_jsonb(value: Any) -> bool:
    """Whether JSON holds nothing that jsonb cannot: NUL, lone surrogates."""
    if isinstance(value, str):
        return bounds.text("==", value, without_nul=True) is not False
    if isinstance(value, dict):
        return all(_fits_jsonb(name) and _fits_jsonb(one) for name, one in value.items())
    return not isinstance(value, list) or all(map(_fits_jsonb, value))


def _any(fragments: Iterable[Fragment]) -> Fragment:
    parts = [sql("COALESCE({}, FALSE)", part) for part in fragments if part != FALSE]
    return sql("({})", joined(" OR ", parts)) if parts else FALSE
