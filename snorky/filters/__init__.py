"""The filter language: one filter for the query, for the subscription, and for a row in the hand.

The grammar is in `docs/reference/filters.md`. Knows neither subscriptions nor databases' drivers.
"""

from snorky.filters.grammar import BadQuery, parse
from snorky.filters.index import Explanation, FilterIndex, Handle
from snorky.filters.nodes import Filter
from snorky.filters.rows import compile_filter, filter_matches

__all__ = [
    "BadQuery",
    "Explanation",
    "Filter",
    "FilterIndex",
    "Handle",
    "compile_filter",
    "filter_matches",
    "parse",
]
