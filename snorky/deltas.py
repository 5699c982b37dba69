"""Deltas: what changed in one row of a model, and how they travel as JSON.

Both the server and the web application speak of them. Knows nothing of who hears about them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


class BadDelta(ValueError):
    """Something that should have been the JSON of a delta is not; the text says why."""


class Delta(ABC):
    """A change of one row.

    ``before`` and ``after`` are the row on both sides of the change: None where it did not exist.
    """

    model: str

    @property
    def before(self) -> Row | None:
        return None

    @property
    def after(self) -> Row | None:
        return None

    def seen_by(self, matched_before: bool, matched_after: bool) -> Delta:
        """This change as it looks to a query that matched at least one of its two rows."""
        return self

    @abstractmethod
    def for_json(self) -> dict[str, Any]:
        """The delta as it travels: an object with ``type``, ``model`` and the rows."""


@dataclass
class InsertionDelta(Delta):
    """A row that is new."""

    model: str
    data: Row

    @property
    def after(self) -> Row:
        return self.data

    def for_json(self) -> dict[str, Any]:
        return {"type": "insert", "model": self.model, "data": self.data}


@dataclass
class UpdateDelta(Delta):
    """A row before and after."""

    model: str
    new_data: Row
    old_data: Row

    @property
    def before(self) -> Row:
        return self.old_data

    @property
    def after(self) -> Row:
        return self.new_data

    def seen_by(self, matched_before: bool, matched_after: bool) -> Delta:
        if matched_before and matched_after:
            return self
        if matched_after:
            return InsertionDelta(self.model, self.new_data)
        return DeletionDelta(self.model, self.old_data)

    def for_json(self) -> dict[str, Any]:
        return {
            "type": "update",
            "model": self.model,
            "newData": self.new_data,
            "oldData": self.old_data,
        }


@dataclass
class DeletionDelta(Delta):
    """A row that is gone."""

    model: str
    data: Row

    @property
    def before(self) -> Row:
        return self.data

    def for_json(self) -> dict[str, Any]:
        return {"type": "delete", "model": self.model, "data": self.data}


@dataclass
class Reset(Delta):
    """Rows of a model changed that cannot be told one by one: whoever shows some fetches again."""

    model: str

    def for_json(self) -> dict[str, Any]:
        return {"type": "reset", "model": self.model}


def parse_delta(value: Any) -> Delta:
    """The delta that a decoded JSON value stands for; fields a delta does not have are dropped.

    Raises BadDelta. Its texts reach the web application.
    """
    # What is not an object lacks every field.
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    for name in ("type", "model"):
        if name not in fields:
            raise BadDelta(f"Missing field '{name}'")
    model = fields["model"]
    if not isinstance(model, str):
        raise BadDelta("model must be string")
    match fields["type"]:
        case "insert":
            return InsertionDelta(model, _row(fields, "data"))
        case "update":
            return UpdateDelta(model, _row(fields, "newData"), _row(fields, "oldData"))
        case "delete":
            return DeletionDelta(model, _row(fields, "data"))
        case "reset":
            return Reset(model)
        case _:
            raise BadDelta("Invalid delta type")


def _row(fields: dict[str, Any], name: str) -> Row:
    if name not in fields:
        raise BadDelta(f"Missing field '{name}'")
    row = fields[name]
    if not isinstance(row, dict):
        raise BadDelta(f"{name} must be object")
    return row
