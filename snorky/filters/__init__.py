"""The filter language: one filter for the query, for the subscription, and for a row in the hand.

The grammar is in `docs/reference/filters.md`. Knows neither subscriptions nor databases' drivers.
"""

from snorky.filters.builder import all_of, any_of, field
from snorky.filters.grammar import BadQuery, parse
from snorky.filters.index import Explanation, FilterIndex, Handle
from snorky.filters.nodes import Filter
from snorky.filters.rows import compile_filter, filter_matches
from snorky.filters.sql import SQL, to_sql, to_sqlalchemy

__all__ = [
    "SQL",
    "BadQuery",
    "Explanation",
    "Filter",
    "FilterIndex",
    "Handle",
    "all_of",
    "any_of",
    "compile_filter",
    "field",
    "filter_matches",
    "parse",
    "to_sql",
    "to_sqlalchemy",
]
