"""The outbox: a table in the application's database, written in the transaction that changes rows.

Triggers write it (``snorky triggers install``), or hooks of an ORM; a relay reads it and tells
Snorky. What a row of it means is in `snorky.backend.outbox.table`; whoever drains it otherwise than
by a relay takes a reader, as `snorky.backend.outbox.reading` describes.
"""

from typing import TYPE_CHECKING, Any

from snorky.backend.outbox.keys import keys

if TYPE_CHECKING:
    from snorky.backend.outbox.relay import Relay

__all__ = ["Relay", "keys"]


def __getattr__(name: str) -> Any:
    # Not before it is used: a web application that writes the outbox runs no relay.
    if name != "Relay":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from snorky.backend.outbox.relay import Relay

    return Relay
