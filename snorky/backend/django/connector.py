"""The project's one connection to Snorky, and what an outage may cost a request: little.

A failure is counted here and raised; whoever asked decides what it means to the user.
"""

import json as standard_json
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.functional import SimpleLazyObject, empty

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.django import settings
from snorky.backend.exchange import JSON, NoAnswerError

COSTLY_SECONDS = 0.2  # a failure that took longer is not repeated for a while


class Failures:
    """What did not get through since the process started. Read its attributes.

    ``publications``: publishings that failed; ``deltas``: changes lost in them;
    ``authorizations``: subscriptions that were asked for and not authorised.
    """

    def __init__(self) -> None:
        self.publications = 0
        self.deltas = 0
        self.authorizations = 0
        self._lock = threading.Lock()

    def count_publication(self, deltas: int) -> None:
        """One publishing failed, and so many changes with it."""
        with self._lock:
            self.publications += 1
            self.deltas += deltas

    def count_authorization(self) -> None:
        """A subscription was not authorised."""
        with self._lock:
            self.authorizations += 1


class RestingHTTPTransport(SnorkyHTTPTransport):
    """Does not make every request of the project wait for a server that does not answer.

    A refused connection costs nothing and is tried each time. After a failure that cost time the
    server is left alone for ``rest`` seconds: sending raises NoAnswerError at once. Then one
    request tries again, and the others follow once it was answered.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 2,
        rest: float = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(url, key, timeout=timeout)
        self._rest = rest
        self._clock = clock
        self._rests_until = 0.0

    def send(self, message: Any, json: JSON = standard_json) -> Any:
        started = self._clock()
        if started < self._rests_until:
            raise NoAnswerError(
                f"Snorky did not answer in time and is asked again in "
                f"{self._rests_until - started:.1f} s"
            )
        if self._rests_until:
            self._rests_until = started + self._rest  # for the others, until this one is answered
        rests_until = 0.0
        try:
            return super().send(message, json)
        except NoAnswerError:
            ended = self._clock()
            if ended - started > COSTLY_SECONDS:
                rests_until = ended + self._rest
            raise
        finally:
            self._rests_until = rests_until


_transport: RestingHTTPTransport | None = None
_transport_lock = threading.Lock()


def _make_transport() -> RestingHTTPTransport:
    # Under a lock, since the first requests of a process may come at the same time.
    global _transport
    with _transport_lock:
        if _transport is None:
            url, key, timeout = settings.backend_url(), settings.api_key(), settings.timeout()
            _transport = RestingHTTPTransport(url, key, timeout=timeout)
        return _transport


def _make_backend() -> SnorkyBackend:
    return SnorkyBackend(http_transport, json=settings.project_json)


failures = Failures()

# Casts: a lazy object is, to all who use it, what it makes at its first use.
http_transport = cast(SnorkyHTTPTransport, SimpleLazyObject(_make_transport))
snorky_backend = cast(SnorkyBackend, SimpleLazyObject(_make_backend))


@receiver(setting_changed)
def _forget_transport(*, setting: str, **_: Any) -> None:
    """Let ``override_settings`` in the project's tests reach a transport that is in use."""
    global _transport
    if setting.startswith("SNORKY_") and _transport is not None:
        _transport.close()
        _transport = None
        cast("SimpleLazyObject[SnorkyHTTPTransport]", http_transport)._wrapped = empty
