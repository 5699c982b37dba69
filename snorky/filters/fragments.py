"""Pieces of SQL with values and columns left open, for drivers and ORMs that fill them in alike.

What a client wrote is a `Value` and never text; columns are named by the application.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter of the statement."""

    value: Any


@dataclass(frozen=True, slots=True)
class Column:
    """A column, by the name of its field."""

    field: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """SQL in parts: text, values and columns."""

    parts: tuple[str | Value | Column, ...]


def sql(template: str, *arguments: Any) -> Fragment:
    """Fill each ``{}`` of a template, in order: with a Fragment, a Column, or else a value."""
    texts = template.split("{}")
    assert len(texts) == len(arguments) + 1, template
    parts: list[str | Value | Column] = [texts[0]]
    for argument, text in zip(arguments, texts[1:], strict=True):
        if isinstance(argument, Fragment):
            parts += argument.parts
        elif isinstance(argument, Column):
            parts.append(argument)
        else:
            parts.append(Value(argument))
        parts.append(text)
    return Fragment(tuple(parts))


def joined(separator: str, fragments: Iterable[Fragment]) -> Fragment:
    parts: list[str | Value | Column] = []
    for fragment in fragments:
        if parts:
            parts.append(separator)
        parts += fragment.parts
    return Fragment(tuple(parts))


TRUE = Fragment(("(1 = 1)",))
FALSE = Fragment(("(1 = 0)",))


def truth(value: bool) -> Fragment:
    return TRUE if value else FALSE
