"""What a Django project says about Snorky: the settings, read at each use.

| setting                   | default              |                                         |
|---------------------------|----------------------|-----------------------------------------|
| `SNORKY_BACKEND_URL`      |                      | address of Snorky's HTTP backend        |
| `SNORKY_API_KEY`          |                      | its key                                 |
| `SNORKY_DATASYNC_SERVICE` | `"datasync_backend"` | name of the DataSyncBackend there       |
| `SNORKY_EVENTS_SERVICE`   | `"events_backend"`   | name of the EventsBackend there         |
| `SNORKY_JSON_ENCODER`     | `DjangoJSONEncoder`  | class or dotted path                    |
| `SNORKY_TIMEOUT`          | 2                    | seconds a request may wait for an answer |
"""

import json
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.module_loading import import_string


def backend_url() -> str:
    return _required("SNORKY_BACKEND_URL", "the address of Snorky's HTTP backend")


def api_key() -> str:
    return _required("SNORKY_API_KEY", "the key of Snorky's HTTP backend")


def datasync_service() -> str:
    return str(getattr(settings, "SNORKY_DATASYNC_SERVICE", "datasync_backend"))


def events_service() -> str:
    return str(getattr(settings, "SNORKY_EVENTS_SERVICE", "events_backend"))


def timeout() -> float:
    return float(getattr(settings, "SNORKY_TIMEOUT", 2))


class ProjectJSON:
    """Encodes with the project's encoder. NaN and the infinities, which JSON lacks, become null."""

    def dumps(self, obj: Any) -> str:
        encoder = getattr(settings, "SNORKY_JSON_ENCODER", None) or DjangoJSONEncoder
        if isinstance(encoder, str):
            encoder = import_string(encoder)
        try:
            return json.dumps(obj, cls=encoder, allow_nan=False)
        except ValueError:  # also for what contains itself, which raises again
            return json.dumps(self.loads(json.dumps(obj, cls=encoder)))

    def loads(self, s: str | bytes) -> Any:
        return json.loads(s, parse_constant=_null)


def _null(constant: str) -> None:
    return None


project_json = ProjectJSON()


def _required(name: str, meaning: str) -> str:
    value = getattr(settings, name, None)
    if not value:
        raise ImproperlyConfigured(f"The setting {name} is missing: {meaning}")
    return str(value)
