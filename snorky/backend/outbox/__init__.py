"""The outbox: a table in the application's database, written in the transaction that changes rows.

Triggers write it (``snorky triggers install``), or hooks of an ORM; a relay reads it and tells
Snorky. What a row of it means is in `snorky.backend.outbox.table`; whoever drains it otherwise than
by a relay takes a reader, as `snorky.backend.outbox.reading` describes.
"""

from snorky.backend.outbox.keys import keys
from snorky.backend.outbox.relay import Relay

__all__ = ["Relay", "keys"]
