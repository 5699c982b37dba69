"""The deltas under the path that programs import them by."""

from snorky.deltas import (
    BadDelta,
    DeletionDelta,
    Delta,
    InsertionDelta,
    Reset,
    Row,
    UpdateDelta,
    parse_delta,
)

__all__ = [
    "BadDelta",
    "DeletionDelta",
    "Delta",
    "InsertionDelta",
    "Reset",
    "Row",
    "UpdateDelta",
    "parse_delta",
]
