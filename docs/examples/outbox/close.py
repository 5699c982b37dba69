"""A write whose page is told when its list shows it, with psycopg."""

from snorky.backend.headers import writing_headers
from snorky.backend.outbox import keys


def close_tickets(connection, team):
    """The headers of the response, once it is committed."""
    with connection.transaction():
        connection.execute("UPDATE tickets SET closed = true WHERE team = %s", [team])
        return writing_headers(keys(connection))
