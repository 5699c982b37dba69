"""The whole configuration. The section at the end is what Snorky asks for, and what run.py
has started."""

import json
import os
import secrets
from importlib.resources import files
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("TICKETS_DATA", HERE.parent / "data"))
DATA.mkdir(parents=True, exist_ok=True)

DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
SECRET_KEY = secrets.token_urlsafe(32)  # nothing that outlives the process is signed with it
ROOT_URLCONF = "tickets.urls"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.staticfiles",
    "rest_framework",
    "snorky.backend.django",
    "tickets",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "tickets.slow.slow_network",
    # Each write is one transaction; its response says under which key pages will hear of it.
    "snorky.backend.django.middleware.SnorkyKeysMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
]

STATIC_URL = "static/"
# The JavaScript client comes with the Python package: /static/snorky/snorky.js
STATICFILES_DIRS = [("snorky", str(files("snorky") / "static"))]

REST_FRAMEWORK: dict[str, Any] = {
    # The demo knows no users. JSON alone, so that no form of another site can post to it.
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}

# Snorky. run.py hands these over in the environment and leaves them in a file for as long as it
# runs, so that `manage.py shell` in another terminal reaches the same Snorky.
RUN_FILE = DATA / "run.json"
_run: dict[str, str] = json.loads(RUN_FILE.read_text()) if RUN_FILE.exists() else {}
_run.update(os.environ)

POSTGRES = _run.get("TICKETS_POSTGRES")  # its address
if POSTGRES:
    from psycopg.conninfo import conninfo_to_dict

    _address = conninfo_to_dict(POSTGRES)
    DATABASES: dict[str, Any] = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _address["dbname"],
            "USER": _address["user"],
            "HOST": _address["host"],
            "PORT": _address.get("port", ""),
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA / "tickets.sqlite3",
            "OPTIONS": {
                # Readers never wait. Writers queue, for up to 20 seconds, at the beginning of their
                # transaction: what one has read there nobody has changed when it writes.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
            },
        }
    }

SNORKY_PORT = int(_run.get("SNORKY_PORT", "5001"))  # pages connect here
SNORKY_BACKEND_URL = f"http://127.0.0.1:{_run.get('SNORKY_BACKEND_PORT', '5002')}/backend"
SNORKY_API_KEY = _run.get("SNORKY_API_KEY")
SNORKY_OUTBOX = "triggers"  # the database says what changes, whoever changes it
