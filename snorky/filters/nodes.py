"""A checked filter, as the parts of this package hand it to each other.

Negation stands at the leaves only.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from snorky.filters.values import Constant, quoted, text_of


class Leaf(NamedTuple):
    """One comparison. Not positive: its negation, which is true for a missing field."""

    operator: str
    field: str
    value: Any
    """A constant; for ``in`` a tuple of them in order; for ``isnull`` nothing."""
    positive: bool = True


class Group(NamedTuple):
    """``and`` or ``or``. Without parts: true, and false."""

    operator: Literal["and", "or"]
    parts: tuple[Node, ...]


Node = Leaf | Group

TRUE: Node = Group("and", ())
FALSE: Node = Group("or", ())


class Filter:
    """A checked filter in its canonical form, as a tree in ``node``.

    Equal where the canonical forms are.
    """

    __slots__ = ("node", "text")

    def __init__(self, node: Node, text: str) -> None:
        self.node = node
        self.text = text
        """Its JSON text: a key under which equal filters meet."""

    @property
    def json(self) -> Any:
        """The canonical form as lists: a filter that means the same."""
        return json.loads(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"<Filter {self.text}>"


def node_text(node: Node) -> str:
    if isinstance(node, Group):
        return f'["{node.operator}"{"".join("," + node_text(part) for part in node.parts)}]'
    name, field, value, positive = node
    if name == "isnull":
        return f'["isnull",{quoted(field)},{"true" if positive else "false"}]'
    constant = f"[{','.join(map(text_of, value))}]" if name == "in" else text_of(value)
    text = f'["{name}",{quoted(field)},{constant}]'
    return text if positive else f'["not",{text}]'


def one_of(field: str, constants: list[Constant], positive: bool) -> Node:
    """The leaf that says ``field`` is one of ``constants``, in the simplest form."""
    if not constants:
        return FALSE if positive else TRUE
    by_text = {text_of(constant): constant for constant in constants}
    if len(by_text) == 1:
        return Leaf("==", field, constants[0], positive)
    return Leaf("in", field, tuple(by_text[text] for text in sorted(by_text)), positive)
