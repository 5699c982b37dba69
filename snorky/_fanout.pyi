from collections.abc import Iterable
from typing import TypeVar

_Connection = TypeVar("_Connection")

def send_to_all(
    connections: Iterable[_Connection], data: bytes, /
) -> list[tuple[_Connection, int]]: ...
