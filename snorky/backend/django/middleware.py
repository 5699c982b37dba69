"""Tells pages under which keys their writes were published, so that they see when these arrived.

::

    MIDDLEWARE = [..., "snorky.backend.django.middleware.SnorkyKeysMiddleware"]

The response to a write carries ``X-Snorky-Keys``: one key for each transaction that published
something. A request that may write is one transaction, of the database ``default``, unless its view
opted out by ``transaction.non_atomic_requests``; where the view fails, it is rolled back. As the
last of all it has nobody else's queries in that transaction.
"""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.http import HttpRequest, HttpResponse

from snorky.backend.django import settings
from snorky.backend.django.cors import add_to_header
from snorky.backend.django.gathering import gathered_keys
from snorky.backend.headers import writing_headers
from snorky.backend.outbox import keys

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


class SnorkyKeysMiddleware:
    """Opens the transaction, and adds the keys of what was published in the request.

    ``sync_capable`` and ``async_capable`` are read by Django: transactions belong to threads.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        gathered: list[str] = []
        before = gathered_keys.set(gathered)
        try:
            response = self._answer(request)
        finally:
            gathered_keys.reset(before)
        for name, value in writing_headers(gathered).items():
            response[name] = value
            if "Origin" in request.headers:
                add_to_header(response, "Access-Control-Expose-Headers", [name])
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Open the transaction, where this request has none yet and may write."""
        view_class = getattr(view, "view_class", None)
        opted_out = DEFAULT_DB_ALIAS in getattr(view, "_non_atomic_requests", ())
        # It runs in another thread.
        in_async = iscoroutinefunction(view) or getattr(view_class, "view_is_async", False)
        already = connections[DEFAULT_DB_ALIAS].settings_dict["ATOMIC_REQUESTS"]
        if request.method in SAFE_METHODS or opted_out or in_async or already:
            return None
        block = transaction.atomic(DEFAULT_DB_ALIAS)
        block.__enter__()
        request._snorky_transaction = block  # type: ignore[attr-defined]
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """The view failed: nothing that it wrote stays."""
        request._snorky_failed = True  # type: ignore[attr-defined]

    def _answer(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse | None = None
        try:
            response = self.get_response(request)
            return response
        finally:
            block = getattr(request, "_snorky_transaction", None)
            if block is not None:
                # Django REST Framework answers what was raised, and leaves this mark.
                failed = response is None or response.status_code >= 500
                failed = failed or getattr(response, "exception", False)
                if failed or getattr(request, "_snorky_failed", False):
                    transaction.set_rollback(True, DEFAULT_DB_ALIAS)
                elif settings.outbox() == "triggers" and settings.has_outbox(DEFAULT_DB_ALIAS):
                    self._gather_key_of_triggers()
                block.__exit__(None, None, None)

    def _gather_key_of_triggers(self) -> None:
        """Only the database knows whether anything was written: a key costs a row of the outbox."""
        gathered = gathered_keys.get()
        if gathered is not None:
            gathered += keys(connections[DEFAULT_DB_ALIAS])
