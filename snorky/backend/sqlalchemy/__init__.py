"""Snorky beside SQLAlchemy 2: what sessions write is told, lists can be subscribed to.

::

    outbox = Outbox(engine, "http://127.0.0.1:5002/backend", key)       # asyncio's engine, or not
    lists = Lists(DataSync(snorky), outbox)

`subscribable` makes a mapped class tell its changes; they are written into an outbox, in the same
transaction, and told after the commit. `create_outbox` makes its table, in a migration.
"""

from snorky.backend.sqlalchemy.lists import BlockingLists, Lists, LiveQuery
from snorky.backend.sqlalchemy.models import subscribable
from snorky.backend.sqlalchemy.outbox import Outbox, create_outbox, drop_outbox

__all__ = [
    "BlockingLists",
    "Lists",
    "LiveQuery",
    "Outbox",
    "create_outbox",
    "drop_outbox",
    "subscribable",
]
