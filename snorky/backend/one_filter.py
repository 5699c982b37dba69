"""One filter for the query and for its subscription; a page may narrow it, and no more than that.

::

    chosen = chosen_filter(field("team") == user.team, wish=request.query["filter"], fields=SHOWN)

The application's own predicate and the page's wish are joined by ``and``, after both were parsed,
so nothing that a page sends can remove what the application says.
"""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from snorky.filters import BadQuery, parse
from snorky.filters.conditions import fields_in

MAX_WISH_CHARACTERS = 8_000  # of a filter in an address; servers take little more


def chosen_filter(
    own: Any = None,
    wish: Any = None,
    *,
    fields: Container[str] | None = None,
) -> Any:
    """The filter of both, as JSON: ``own`` of the application, ``wish`` of the page.

    ``wish`` is JSON text, as it stands in an address, or decoded; None or "" wishes nothing. It may
    name ``fields`` alone, which should be those that the rows show: by a filter on others a page
    could find out what they hold. None: any. Raises BadQuery for what is wrong in the wish, and
    ValueError where the application's own filter is malformed.
    """
    parts = []
    if own is not None:
        try:
            parse(own)
        except BadQuery as error:
            raise ValueError(f"the application's own filter is malformed: {error}") from error
        parts.append(_plain(own))
    if wish is not None and wish != "":
        parts.append(_checked_wish(wish, fields))
    chosen = parts[0] if len(parts) == 1 else ["and", *parts]
    parse(chosen)  # deep and wide as both are together
    return chosen


def _checked_wish(wish: Any, fields: Container[str] | None) -> Any:
    if isinstance(wish, str | bytes):
        if len(wish) > MAX_WISH_CHARACTERS:
            raise BadQuery(f"expected a filter of at most {MAX_WISH_CHARACTERS} characters")
        try:
            wish = json.loads(wish)
        except (ValueError, RecursionError) as error:
            raise BadQuery("expected a filter as JSON") from error
    parsed = parse(wish)
    if fields is not None:
        for name in sorted(fields_in(parsed.node)):
            if name.partition(".")[0] not in fields:
                raise BadQuery(f"there is no field {name!r} to filter by")
    return _plain(wish)


def _plain(filter: Any) -> Any:  # noqa: A002 (the language's word)
    """JSON alone, also of what the builder made, which has no truth."""
    return json.loads(json.dumps(filter))
