"""Headers that are lists of names, to which others add, too."""

from collections.abc import Iterable
from typing import Protocol


class Headers(Protocol):
    """A response of Django."""

    def get(self, header: str, alternate: str, /) -> str: ...

    def __setitem__(self, header: str, value: str) -> None: ...


def add_to_header(response: Headers, name: str, values: Iterable[str]) -> None:
    """Add names to a header, each once."""
    names = [part.strip() for part in response.get(name, "").split(",") if part.strip()]
    known = {part.lower() for part in names}
    response[name] = ", ".join([*names, *(new for new in values if new.lower() not in known)])
