"""What one transaction tells Snorky: an entry of its log, made of rows that are JSON already.

Knows how large an entry may be, and which models must be told to fetch anew where one was lost.
Who sends it, and when, is the connectors' business.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# Of JSON in one entry; the server takes 1 MiB, the envelope around it included.
MAX_ENTRY_BYTES = 1024 * 1024 - 4096


class Change(NamedTuple):
    """A row before and after a change, each the JSON text of an object.

    ``before`` is None where the row was made, ``after`` where it was deleted. A change without any
    row is a *reset*: something changed that cannot be told, so who subscribes to rows of this model
    fetches anew.
    """

    model: str
    before: str | None = None
    after: str | None = None

    @classmethod
    def of(cls, delta: Mapping[str, Any], dumps: Callable[[Any], str | bytes]) -> Change:
        """The change that a delta tells: ``{"type": "insert", "model": "Task", "data": {...}}``.

        Raises ValueError where it is none, and what ``dumps`` raises.
        """
        try:
            model, kind = delta["model"], delta["type"]
            if not isinstance(model, str):
                raise ValueError(f"expected a model's name, got {model!r:.100}")
            match kind:
                case "insert":
                    return cls(model, None, _object(delta["data"], dumps))
                case "update":
                    old, new = delta["oldData"], delta["newData"]
                    return cls(model, _object(old, dumps), _object(new, dumps))
                case "delete":
                    return cls(model, _object(delta["data"], dumps), None)
                case "reset":
                    return cls(model)
        except KeyError as error:
            raise ValueError(f"the delta lacks the field {error}") from None
        raise ValueError(f"expected insert, update, delete or reset as type, got {kind!r:.100}")

    @property
    def text(self) -> str:
        """The delta as JSON."""
        model = json.dumps(self.model)
        if self.before is not None and self.after is not None:
            rows = f'"newData":{self.after},"oldData":{self.before}'
            return f'{{"type":"update","model":{model},{rows}}}'
        if self.after is not None:
            return f'{{"type":"insert","model":{model},"data":{self.after}}}'
        if self.before is not None:
            return f'{{"type":"delete","model":{model},"data":{self.before}}}'
        return f'{{"type":"reset","model":{model}}}'


def entry_text(changes: Sequence[Change]) -> str:
    """The JSON of one transaction's changes: an array of deltas.

    Where they are more than an entry holds, it tells instead that the models have changed.
    """
    text = f"[{','.join(change.text for change in changes)}]"
    if len(text.encode()) <= MAX_ENTRY_BYTES:
        return text
    return entry_text([Change(model) for model in models_of(changes)])


def models_of(changes: Iterable[Change]) -> list[str]:
    """The models of changes, each once, in order."""
    return list(dict.fromkeys(change.model for change in changes))


def new_key() -> str:
    """A name for one publication that no other has, so that it can be repeated."""
    return secrets.token_urlsafe(12)


class LostModels:
    """Models of which something changed that pages may not have heard of. For many threads.

    They are remembered until a reset of them was accepted.
    """

    def __init__(self) -> None:
        self._losses: dict[str, int] = {}  # model -> number of its newest loss
        self._number = 0
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._losses)

    def remember(self, models: Iterable[str]) -> None:
        with self._lock:
            for model in models:
                self._number += 1
                self._losses[model] = self._number

    def now(self) -> dict[str, int]:
        """What is lost until now, to be given to `forget` when it has been reset."""
        with self._lock:
            return dict(self._losses)

    def forget(self, losses: Mapping[str, int]) -> None:
        """A reset of these was accepted. What was lost again meanwhile stays."""
        with self._lock:
            for model, number in losses.items():
                if self._losses.get(model) == number:
                    del self._losses[model]


def _object(row: Any, dumps: Callable[[Any], str | bytes]) -> str:
    text = dumps(row)
    text = text.decode() if isinstance(text, bytes) else text
    if not text.startswith("{"):
        raise ValueError(f"expected a row that is an object, got {text:.100}")
    return text
