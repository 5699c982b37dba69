"""The DataSyncBackend that the settings name: `DataSync` as functions of the project."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.signals import setting_changed
from django.db.models import Model
from django.dispatch import receiver

from snorky.backend.datasync import DataSync
from snorky.backend.django import settings
from snorky.backend.django.connector import failures, snorky_backend
from snorky.backend.django.registry import wire_name
from snorky.backend.exchange import SnorkyError


class ProjectDataSync(DataSync):
    @property
    def service(self) -> str:
        return settings.datasync_service()


datasync = ProjectDataSync(snorky_backend)


@receiver(setting_changed)
def _forget_server(*, setting: str, **_: Any) -> None:
    """Let ``override_settings`` in the project's tests begin with nothing lost."""
    if setting.startswith("SNORKY_"):
        datasync.forget()


def head() -> str:
    """Return the position of the newest change, at most 10 seconds old: see `DataSync.head`."""
    return datasync.head()


def authorize_subscription(
    items: Sequence[Mapping[str, Any]], subject: Any = None, after: str | None = None
) -> str:
    """Return a token for a subscription to ``items``: ``{"dealer": name, "query": any}`` each.

    Ask for `head` before you check the user's permission and give it as ``after``; query the
    database when you have the token. ``subject`` is whose subscription it is: see
    `revoke_subscriptions`. Raises RuntimeError, also when Snorky refuses:
    ``Error from Snorky server: <text>``.
    """
    try:
        return datasync.authorize(items, subject, after)
    except SnorkyError as error:
        failures.count_authorization()
        raise RuntimeError(f"Error from Snorky server: {error}") from error
    except RuntimeError:
        failures.count_authorization()
        raise


def revoke_subscriptions(
    *,
    subject: Any = None,
    items: Sequence[Mapping[str, Any]] | None = None,
    models: Iterable[type[Model] | str] | None = None,
) -> Any:
    """End the subscriptions that match all that is given, when somebody may see less than before.

    Call it after the commit that takes the permission away. Raises RuntimeError or SnorkyError.
    """
    return datasync.revoke(subject=subject, items=items, models=_names(models))


def refresh_subscriptions(
    *,
    subject: Any = None,
    items: Sequence[Mapping[str, Any]] | None = None,
    models: Iterable[type[Model] | str] | None = None,
) -> Any:
    """Let the pages of these subscriptions fetch again: their rows look different now."""
    return datasync.refresh(subject=subject, items=items, models=_names(models))


def list_subscriptions() -> Any:
    """Return counts of the subscriptions, for operators."""
    return datasync.subscriptions()


def _names(models: Iterable[type[Model] | str] | None) -> list[str] | None:
    if models is None:
        return None
    return [model if isinstance(model, str) else wire_name(model) for model in models]
