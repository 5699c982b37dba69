"""Events: who of the project's users may hear of what, and what there is to hear.

::

    urlpatterns = [*event_urls(may_connect)]          # may_connect(request, path) -> bool

    update(f"/jobs/{job.pk}", {"percent": 15})        # in a view, a task, the shell

Pages ask these views with the cookies of their user, and Django's CSRF protection, as for anything
else. While Snorky is away the project works on: the log `snorky` says what was lost, `failures`
counts.
"""

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from snorky.backend.django import settings
from snorky.backend.django.connector import failures, snorky_backend
from snorky.backend.django.settings import project_json
from snorky.backend.exchange import SnorkyError, snorky_log

MAX_BODY_BYTES = 64 * 1024
MAX_PATHS = 1000
UNKNOWN_CLIENT = "Unknown client id"  # Snorky's words

MayConnect = Callable[[HttpRequest, str], bool]
View = Callable[..., HttpResponseBase]


def event_urls(may_connect: MayConnect, prefix: str = "events/") -> list[URLPattern]:
    """Return the two addresses that pages ask: ``events/connect/ID`` and ``events/disconnect/ID``.

    ``may_connect(request, path)`` says whether the user may hear of ``path``, which is anything
    the page likes: a pattern such as ``/jobs/*``, too.
    """
    return [
        path(prefix + "connect/<client_id>", connect_view(may_connect), name="snorky_connect"),
        path(prefix + "disconnect/<client_id>", disconnect_view, name="snorky_disconnect"),
    ]


def connect_view(may_connect: MayConnect) -> View:
    """Return a view that connects a page to the paths in the JSON array it has sent.

    To all of them or to none: 403 names the first that the user may not hear of. The id of the
    page is the view's argument ``client_id``, or ``id`` in the query.
    """
    if iscoroutinefunction(may_connect):
        raise TypeError("expected a plain function: what an async one returns is always true")

    @never_cache
    @require_POST
    def view(request: HttpRequest, client_id: str | None = None) -> HttpResponseBase:
        paths = _paths_in(request)
        if isinstance(paths, HttpResponse):
            return paths
        for event_path in paths:
            try:
                allowed = may_connect(request, event_path)
            except PermissionDenied:
                allowed = False
            if not allowed:
                text = f"You may not connect to {event_path}"
                return _refusal(HTTPStatus.FORBIDDEN, text, path=event_path)
        return _tell_snorky("connect", request, client_id, paths)

    return view


@never_cache
@require_POST
def disconnect_view(request: HttpRequest, client_id: str | None = None) -> HttpResponseBase:
    """Disconnect a page from the paths in the JSON array it has sent. Nobody has to allow that."""
    paths = _paths_in(request)
    if isinstance(paths, HttpResponse):
        return paths
    return _tell_snorky("disconnect", request, client_id, paths)


def update(path: str, message: Any = None, *, using: str | None = None, now: bool = False) -> None:
    """Send ``message``, any JSON value, to all who are connected to ``path``.

    In a transaction of the database ``using`` it leaves after the commit, and with ``now`` at
    once: the progress of what one transaction does. It is encoded now: later changes to it are not
    seen, and what is no JSON raises here. A failure of Snorky is logged and counted in
    ``failures``.
    """
    send = partial(_send_update, path, project_json.dumps(message))
    connection = transaction.get_connection(using)
    if now:
        send()
    elif connection.in_atomic_block:
        transaction.on_commit(send, using)
    elif connection.connection is None or connection.get_autocommit():
        send()
    else:
        # Django calls nobody after the commit of a transaction that the program manages itself.
        failures.count_publication(0)
        snorky_log.error("Update of %s not sent: autocommit is off", path)


def _send_update(path: str, text: str) -> None:
    try:
        snorky_backend.call(
            settings.events_service(), "update", path=path, message=project_json.loads(text)
        )
    except (RuntimeError, SnorkyError) as error:
        failures.count_publication(0)
        snorky_log.error("Update of %s not sent: %s", path, error)
    except Exception:
        # The transaction has committed: whatever this is, it is not the user's failure.
        failures.count_publication(0)
        snorky_log.exception("Update of %s not sent", path)


def _paths_in(request: HttpRequest) -> list[str] | HttpResponse:
    """The paths that a page has sent, or what it is answered instead."""
    if request.content_type != "application/json":
        # Also so that no form of another site can send it.
        return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Expected application/json")
    body = request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        text = f"Expected at most {MAX_BODY_BYTES} bytes"
        return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
    try:
        paths = json.loads(body)
    except (ValueError, RecursionError):
        paths = None
    if not isinstance(paths, list) or not 1 <= len(paths) <= MAX_PATHS:
        text = f"Expected a JSON array of 1 to {MAX_PATHS} paths"
        return _refusal(HTTPStatus.BAD_REQUEST, text)
    if not all(isinstance(each, str) for each in paths):
        return _refusal(HTTPStatus.BAD_REQUEST, "Expected paths that are strings")
    return paths


def _tell_snorky(
    command: str, request: HttpRequest, client_id: str | None, paths: list[str]
) -> HttpResponse:
    client_id = client_id or request.GET.get("id", "")
    try:
        snorky_backend.call(settings.events_service(), command, clientId=client_id, path=paths)
    except SnorkyError as error:
        gone = str(error) == UNKNOWN_CLIENT
        return _refusal(HTTPStatus.GONE if gone else HTTPStatus.BAD_REQUEST, str(error))
    except RuntimeError as error:
        failures.count_authorization()
        snorky_log.error("A page is not connected to events: %s", error)
        return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Snorky does not answer")
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


def _refusal(status: HTTPStatus, text: str, **more: str) -> JsonResponse:
    return JsonResponse({"error": text, **more}, status=status)
