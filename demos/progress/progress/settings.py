"""The whole configuration. The section at the end is all that Snorky asks for."""

import json
import os
import secrets
from importlib.resources import files
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("PROGRESS_DATA", Path(__file__).resolve().parent.parent / "data"))
DATA.mkdir(parents=True, exist_ok=True)

# It signs the cookies that say whose jobs are whose, so it outlives the process.
SECRET_FILE = DATA / "secret"
if not SECRET_FILE.exists():
    SECRET_FILE.touch(mode=0o600)
    SECRET_FILE.write_text(secrets.token_urlsafe(32))

DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
SECRET_KEY = SECRET_FILE.read_text()
ROOT_URLCONF = "progress.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.staticfiles", "progress"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"

TEMPLATES: list[dict[str, Any]] = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "progress.sqlite3",
        "OPTIONS": {
            # Two processes write. They queue, for up to 20 seconds.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
        },
    }
}

STATIC_URL = "static/"
# The JavaScript client comes with the Python package: /static/snorky/snorky.js
STATICFILES_DIRS = [("snorky", str(files("snorky") / "static"))]

# Snorky. run.py hands these over in the environment and leaves them in a file for as long as it
# runs, so that `manage.py shell` in another terminal reaches the same Snorky.
RUN_FILE = DATA / "run.json"
_run: dict[str, str] = json.loads(RUN_FILE.read_text()) if RUN_FILE.exists() else {}
_run.update(os.environ)

SNORKY_PORT = int(_run.get("SNORKY_PORT", "5001"))  # pages connect here
SNORKY_BACKEND_URL = f"http://127.0.0.1:{_run.get('SNORKY_BACKEND_PORT', '5002')}/backend"
SNORKY_API_KEY = _run.get("SNORKY_API_KEY")
