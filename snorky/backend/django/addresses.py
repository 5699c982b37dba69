"""The address of a database of the project, as `snorky relay` and `snorky triggers` take it."""

from urllib.parse import quote, urlencode

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

LIBPQ = ("NAME", "dbname"), ("USER", "user"), ("PASSWORD", "password"), ("HOST", "host")
NOT_OF_LIBPQ = {"pool", "isolation_level", "server_side_binding", "assume_role", "cursor_factory"}
"""Options of Django's own, and of psycopg's Python side."""


def database_url(alias: str) -> str:
    """``postgresql://...`` or ``sqlite:////...``. Raises ImproperlyConfigured for other kinds."""
    connection = connections[alias]
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return "sqlite:///" + quote(str(settings["NAME"]))
    if connection.vendor != "postgresql":
        raise ImproperlyConfigured(
            f"triggers are for PostgreSQL and SQLite; {alias!r} is {connection.display_name}"
        )
    known = {ours: settings[name] for name, ours in (*LIBPQ, ("PORT", "port")) if settings[name]}
    options = {
        name: value
        for name, value in settings.get("OPTIONS", {}).items()
        if name not in NOT_OF_LIBPQ and isinstance(value, str | int)
    }
    return "postgresql:///?" + urlencode(known | options, quote_via=quote, safe="/")
