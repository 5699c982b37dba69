"""Fields that filters name and rows have not: misspelt, or left out by who renders the rows.

Such a filter is a good one, and its list stays as it is; only the log can say why.
"""

from __future__ import annotations

from snorky.deltas import Row
from snorky.filters.nodes import Filter, Group, Node
from snorky.log import printable, snorky_log

MOST_NAMES = 1000
"""Names of fields that are looked at, for one dealer: of those made up beyond nothing is told."""


class UnknownFields:
    """What one dealer warns of: once for each field, at the first row that lacks it."""

    def __init__(self) -> None:
        self._named: set[str] = set()
        self.not_seen: set[str] = set()
        """Fields that filters name, and that no row was looked at for. Mostly empty."""

    def note(self, parsed: Filter) -> None:
        for name in _names_in(parsed.node):
            if name not in self._named and len(self._named) < MOST_NAMES:
                self._named.add(name)
                self.not_seen.add(name)

    def look_in(self, row: Row, dealer: str, model: str) -> None:
        for name in sorted(self.not_seen.difference(row)):
            snorky_log.warning(
                'A filter of dealer "%s" names the field "%s", which a row of model "%s" has not. '
                "It has: %s",
                dealer,
                printable(name, 100),
                model,
                printable(", ".join(map(str, row))),
            )
        self.not_seen.clear()


def _names_in(node: Node) -> set[str]:
    """Of the row's own fields. ``isnull`` alone is for those that a row may lack."""
    if isinstance(node, Group):
        return {name for part in node.parts for name in _names_in(part)}
    return set() if node.operator == "isnull" else {node.field.partition(".")[0]}
