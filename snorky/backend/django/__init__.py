"""Snorky in a Django project: changes of models are published, lists can be subscribed to.

::

    SNORKY_BACKEND_URL = "http://127.0.0.1:5002/backend"
    SNORKY_API_KEY = "swordfish"

`subscribable` makes a model publish its changes, `snorky.backend.django.rest_framework` hands out
subscriptions. Nothing goes into INSTALLED_APPS, and settings are read when first needed.
While Snorky is away the project works on: the log `snorky` says what was lost, `failures` counts.
"""

from snorky.backend.django import checks as checks  # which registers them
from snorky.backend.django.changes import subscribable
from snorky.backend.django.connector import failures, http_transport, snorky_backend
from snorky.backend.django.datasync import (
    authorize_subscription,
    head,
    list_subscriptions,
    refresh_subscriptions,
    revoke_subscriptions,
)
from snorky.backend.django.publication import publish_deltas, reset_models

__all__ = [
    "authorize_subscription",
    "failures",
    "head",
    "http_transport",
    "list_subscriptions",
    "publish_deltas",
    "refresh_subscriptions",
    "reset_models",
    "revoke_subscriptions",
    "snorky_backend",
    "subscribable",
]
