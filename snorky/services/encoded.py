"""Answers that many ask for, encoded once for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from snorky.wire import encode


class EncodedList(list[Any]):
    """A list that is not changed any more, with its text. A command may return it."""

    __slots__ = ("text",)

    def __init__(self, items: Iterable[Any]) -> None:
        super().__init__(items)
        self.text = msgspec.Raw(encode(list(self)))
