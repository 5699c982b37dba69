"""What a Django project says about Snorky: the settings, read at each use.

| setting                   | default              |                                         |
|---------------------------|----------------------|-----------------------------------------|
| `SNORKY_BACKEND_URL`      |                      | address of Snorky's HTTP backend        |
| `SNORKY_API_KEY`          |                      | its key                                 |
| `SNORKY_DATASYNC_SERVICE` | `"datasync_backend"` | name of the DataSyncBackend there       |
| `SNORKY_EVENTS_SERVICE`   | `"events_backend"`   | name of the EventsBackend there         |
| `SNORKY_JSON_ENCODER`     | `RowEncoder`         | class or dotted path                    |
| `SNORKY_TIMEOUT`          | 2                    | seconds a request may wait for an answer |
| `SNORKY_OUTBOX`           | None                 | `"orm"` or `"triggers"`: who writes it  |
| `SNORKY_OUTBOX_DATABASE`  | `"default"`          | the alias of the database that has it   |
| `SNORKY_OUTBOX_SOURCE`    | `"main"`             | what Snorky calls this outbox           |
"""

import datetime
import json
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

COMPACT = (",", ":")

REQUIRED = {
    "SNORKY_BACKEND_URL": "the address of Snorky's HTTP backend",
    "SNORKY_API_KEY": "the key of Snorky's HTTP backend",
}
NAMES = [
    *REQUIRED,
    "SNORKY_DATASYNC_SERVICE",
    "SNORKY_EVENTS_SERVICE",
    "SNORKY_JSON_ENCODER",
    "SNORKY_OUTBOX",
    "SNORKY_OUTBOX_DATABASE",
    "SNORKY_OUTBOX_SOURCE",
    "SNORKY_TIMEOUT",
]


def backend_url() -> str:
    return _required("SNORKY_BACKEND_URL")


def api_key() -> str:
    return _required("SNORKY_API_KEY")


def datasync_service() -> str:
    return str(getattr(settings, "SNORKY_DATASYNC_SERVICE", "datasync_backend"))


def events_service() -> str:
    return str(getattr(settings, "SNORKY_EVENTS_SERVICE", "events_backend"))


def timeout() -> float:
    seconds = float(getattr(settings, "SNORKY_TIMEOUT", 2))
    if not seconds > 0:
        raise ImproperlyConfigured(f"expected a number of seconds above 0, got {seconds:g}")
    return seconds


def outbox() -> str | None:
    """Who writes the outbox: ``"orm"``, ``"triggers"``, or nobody, since there is none."""
    chosen = getattr(settings, "SNORKY_OUTBOX", None)
    if chosen is True:
        return "orm"
    if chosen not in (None, False, "orm", "triggers"):
        raise ImproperlyConfigured(f'expected "orm", "triggers" or None, got {chosen!r:.100}')
    return chosen or None


def outbox_database() -> str:
    return str(getattr(settings, "SNORKY_OUTBOX_DATABASE", DEFAULT_DB_ALIAS))


def has_outbox(using: str) -> bool:
    """Whether what changes in this database is told by an outbox of it."""
    return outbox() is not None and using == outbox_database()


def has_orm_outbox(using: str) -> bool:
    return outbox() == "orm" and using == outbox_database()


def source() -> str:
    return str(getattr(settings, "SNORKY_OUTBOX_SOURCE", "main"))


def encoder() -> type[json.JSONEncoder]:
    chosen = getattr(settings, "SNORKY_JSON_ENCODER", None) or RowEncoder
    if isinstance(chosen, str):
        chosen = import_string(chosen)
    if not (isinstance(chosen, type) and issubclass(chosen, json.JSONEncoder)):
        raise ImproperlyConfigured(
            f"expected a class derived from JSONEncoder, got {chosen!r:.100}"
        )
    return chosen


class RowEncoder(DjangoJSONEncoder):
    """Django's encoder, but for instants: in UTC, all of one width, so that texts compare as they.

    ``2031-02-03T04:05:06.000000Z``; without the ``Z`` where the project uses no time zones.
    """

    def default(self, o: Any) -> Any:
        return instant_text(o) if isinstance(o, datetime.datetime) else super().default(o)


def instant_text(instant: datetime.datetime) -> str:
    """The one text of an instant in rows and queries."""
    if instant.utcoffset() is None:
        return instant.isoformat(timespec="microseconds")
    utc = instant.astimezone(datetime.UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds") + "Z"


class ProjectJSON:
    """Encodes with the project's encoder. NaN and the infinities, which JSON lacks, become null."""

    def dumps(self, obj: Any) -> str:
        cls = encoder()
        try:
            return json.dumps(obj, cls=cls, allow_nan=False, separators=COMPACT)
        except ValueError:  # also for what contains itself, which raises again
            finite = self.loads(json.dumps(obj, cls=cls))
            return json.dumps(finite, separators=COMPACT)

    def loads(self, s: str | bytes) -> Any:
        return json.loads(s, parse_constant=_null)


def _null(constant: str) -> None:
    return None


project_json = ProjectJSON()


def _required(name: str) -> str:
    value = getattr(settings, name, None)
    if not value:
        raise ImproperlyConfigured(f"The setting {name} is missing: {REQUIRED[name]}")
    return str(value)
