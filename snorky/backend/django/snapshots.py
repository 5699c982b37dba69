"""Whether a view's query sees all that was committed before its token was made.

It does where each query has a snapshot of its own, of the database that writes.
"""

from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.models import QuerySet


def refuse_older_snapshots(view: object) -> None:
    """Raise in a transaction whose query may not see what was committed before the token.

    Only PostgreSQL's READ COMMITTED gives each query of a transaction a snapshot of its own. The
    transactions in which Django's ``TestCase`` wraps a test do not count.
    """
    for connection in connections.all(initialized_only=True):
        # The mark is the one Django itself goes by, for durable blocks.
        if all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            continue
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SHOW transaction_isolation")
                [level] = cursor.fetchone()
            if level in ("read committed", "read uncommitted"):
                continue
        raise ImproperlyConfigured(
            f"{type(view).__name__} hands out subscriptions in a transaction of the database "
            f"{connection.alias!r}, whose queries may miss changes. Run it outside: decorate its "
            f"dispatch() with django.db.transaction.non_atomic_requests"
        )


def refuse_replica(view: object, queryset: QuerySet[Any]) -> None:
    """Raise where the rows come from a copy of the database, which may lag behind."""
    database, writing = queryset.db, router.db_for_write(queryset.model)
    if database == writing:
        return
    # The attribute behind `using`, which the stubs leave out.
    chosen_by_hand = queryset._db is not None and not settings.DATABASE_ROUTERS  # type: ignore[attr-defined]
    if chosen_by_hand and not _is_copy(database):
        return  # the only way there is to use a second database that is written to
    raise ImproperlyConfigured(
        f"{type(view).__name__} hands out subscriptions to rows of the database {database!r}, "
        f"which may be older than those of {writing!r}, where they are written. Query that one: "
        f"queryset.using({writing!r})"
    )


@cache
def _is_copy(database: str) -> bool:
    connection = connections[database]
    if connection.settings_dict.get("TEST", {}).get("MIRROR"):
        return True
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        return bool(cursor.fetchone()[0])
