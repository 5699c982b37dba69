"""In DEBUG: is a view's query what its subscription's filter says?

A row that the query gives and the filter excludes would be on the page, and its changes would not.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from snorky.backend.django.field_types import types_of_serializer
from snorky.backend.exchange import snorky_log

_said: set[tuple[type, str]] = set()


def compare_rows(view: Any, items: Sequence[Mapping[str, Any]], response: Response) -> None:
    """Warn, once for each view and field, of rows in a response that no item's filter matches."""
    if not settings.DEBUG:
        return
    # Here, since the filter language is not needed to serve requests.
    from snorky.filters import BadQuery, compile_filter, parse

    types = types_of_serializer(view.get_serializer_class())
    try:
        filters = [parse(item["query"], types) for item in items]
    except (BadQuery, KeyError):
        return  # a dealer that knows no filters
    tests = [compile_filter(parsed) for parsed in filters]
    for row in _rows(response.data):
        if not filters or any(matches(row) for matches in tests):
            continue
        field = _field_that_fails(filters[0].node, row)
        if (type(view), field) not in _said:
            _said.add((type(view), field))
            snorky_log.warning(
                "%s gives the row %s, which the filter of its subscription excludes by the field "
                "%r: pages would not hear of its changes. The filter is %s",
                type(view).__name__,
                json.dumps(row)[:200],
                field,
                filters[0].text,
            )


def _rows(data: Any) -> Iterator[dict[str, Any]]:
    rows = data.get("results") if isinstance(data, dict) else data
    for row in rows or ():
        yield json.loads(JSONRenderer().render(row))


def _field_that_fails(node: Any, row: dict[str, Any]) -> str:
    from snorky.filters import Filter, compile_filter
    from snorky.filters.nodes import Group, node_text

    while isinstance(node, Group):
        failing = [
            part for part in node.parts if not compile_filter(Filter(part, node_text(part)))(row)
        ]
        if not failing:
            return "?"
        node = failing[0]
    field: str = node.field
    return field
