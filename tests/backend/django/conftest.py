"""A Django project of one application, on SQLite and, where a test asks for it, on PostgreSQL."""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.transaction import atomic
from django.test.utils import override_settings

from snorky.backend.draining.sqlite import SUFFIX
from snorky.backend.outbox.table import OUTBOX, create_sqlite, drop_sqlite
from tests.servers import Postgres

FOLDER = Path(tempfile.mkdtemp(prefix="snorky-tests-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
POSTGRES = FOLDER / "postgres"


def _sqlite(name: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / f"{name}.sqlite3",
        "OPTIONS": {"init_command": "PRAGMA synchronous=OFF"},
    }


sys.path.insert(0, str(Path(__file__).parent))  # for taskapp
settings.configure(
    DATABASES={
        "default": _sqlite("default"),
        "other": _sqlite("other"),
        "postgres": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": str(POSTGRES),
            "NAME": "postgres",
            "USER": "postgres",
        },
    },
    ALLOWED_HOSTS=["testserver"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "snorky.backend.django",
        "taskapp",
    ],
    REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None},
    MEDIA_URL="/media/",
    ROOT_URLCONF="taskapp.urls",
    SECRET_KEY="tests",
    USE_TZ=True,
)
django.setup()


@pytest.fixture(scope="session")
def sqlite() -> Iterator[None]:
    for alias in ("default", "other"):
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    yield
    connections.close_all()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[None]:
    POSTGRES.mkdir(0o700)
    FOLDER.chmod(0o755)
    server = Postgres(POSTGRES)
    server.start()
    call_command("migrate", database="postgres", run_syncdb=True, verbosity=0)
    yield
    connections.close_all()
    server.stop(abruptly=True)


@pytest.fixture(autouse=True)
def _empty_tables(sqlite: None, request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for alias in ("default", "other"):
        _empty(alias)
    if "postgres" in request.fixturenames:
        _empty("postgres")


@pytest.fixture
def postgres(postgres_server: None) -> str:
    """The alias of a real PostgreSQL."""
    return "postgres"


def _empty(alias: str) -> None:
    connection = connections[alias]
    with connection.constraint_checks_disabled(), atomic(alias), connection.cursor() as cursor:
        for table in connection.introspection.django_table_names(only_existing=True):
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")
        cursor.execute(f"SELECT id FROM {OUTBOX} LIMIT 1")
        if cursor.fetchone() is None:
            return
        if connection.vendor != "sqlite":
            cursor.execute(f"DELETE FROM {OUTBOX}")
            return
        # Its numbers never begin again, unless it is another one.
        for statement in [*drop_sqlite(), *create_sqlite()]:
            cursor.execute(statement)
    Path(f"{connection.settings_dict['NAME']}{SUFFIX}").unlink(missing_ok=True)


@dataclass
class Published:
    """What the project published: a list of deltas for each request that Snorky got."""

    backend: Any

    @property
    def requests(self) -> list[list[Any]]:
        assert set(self.backend.commands()) <= {"publishDeltas"}
        return [request.params["deltas"] for request in self.backend.requests]

    @property
    def deltas(self) -> list[Any]:
        return [delta for deltas in self.requests for delta in deltas]

    def clear(self) -> None:
        self.backend.requests.clear()


@pytest.fixture
def snorky(backend: Any) -> Iterator[Any]:
    """A recording server, to which the project's settings point."""
    with override_settings(SNORKY_BACKEND_URL=backend.url, SNORKY_API_KEY="swordfish"):
        yield backend


@pytest.fixture
def settings_of_rest_framework() -> Iterator[Any]:
    """``settings_of_rest_framework(NAME=value)``, for the rest of the test."""
    with ExitStack() as stack:

        def change(**values: Any) -> None:
            changed = settings.REST_FRAMEWORK | values
            stack.enter_context(override_settings(REST_FRAMEWORK=changed))

        yield change


@pytest.fixture
def published(snorky: Any) -> Published:
    return Published(snorky)
