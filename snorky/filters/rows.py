"""Which rows a filter matches, one filter and one row at a time.

The logic has two values. A comparison with a missing field, or of values that have no order, is
false, so its ``not`` is true. Values keep their JSON type: ``true`` is not 1 and "1" is not 1, but
1 and 1.0 are one number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from snorky.filters.facts import Reader
from snorky.filters.grammar import parse
from snorky.filters.nodes import Filter
from snorky.filters.shapes import Lowered, key_offsets, walk
from snorky.filters.values import Types

RowTest = Callable[[Any], bool]


def filter_matches(row: Any, filter: Any, types: Types | None = None) -> bool:  # noqa: A002
    """Whether the row matches; raises BadQuery where the filter is malformed."""
    return compile_filter(filter, types)(row)


def compile_filter(filter: Any, types: Types | None = None) -> RowTest:  # noqa: A002
    """The filter as a function of a row. It never raises, whatever the row.

    ``filter`` is JSON, or what `parse` returned. Raises BadQuery where it is malformed or too
    large.
    """
    parsed = filter if isinstance(filter, Filter) else parse(filter, types)
    lowered = Lowered(parsed.node)
    program, arguments = lowered.program, tuple(lowered.arguments)
    reader = Reader()
    for offset in key_offsets(program):
        reader.want(arguments[offset])
    read = reader.read

    def matches(row: Any) -> bool:
        return walk(program, read(row).get, arguments)

    return matches
