"""A network that is as slow as the page wants it to be."""

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

LONGEST_SECONDS = 5.0


def slow_network(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: ``X-Slow: 2`` lets a request take 2 seconds to arrive.

    It stands before the middleware that opens a transaction: who is slow keeps nobody waiting.
    """

    def answer(request: HttpRequest) -> HttpResponse:
        time.sleep(min(float(request.headers.get("X-Slow", 0)), LONGEST_SECONDS))
        return get_response(request)

    return answer
