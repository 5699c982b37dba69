"""A Snorky in the same program: the back end without HTTP, and without a key.

::

    snorky = SnorkyBackend(InProcessTransport(backend))     # the ServiceRegistry of the back end
"""

import asyncio
import json as standard_json
from typing import Any

from snorky.backend.exchange import JSON, Encoded, NoAnswerError

ANSWER_SECONDS = 30.0


class InProcessTransport:
    """Hands envelopes to a registry, in the event loop that serves it."""

    def __init__(self, registry: Any, *, timeout: float = ANSWER_SECONDS) -> None:
        self._registry = registry
        self._timeout = timeout

    async def send(self, message: Any, json: JSON = standard_json) -> Any:
        """Send ``message``, an envelope, and return the decoded envelope that answers it.

        Raises NoAnswerError where no answer came, RuntimeError where it is refused.
        """
        sender = _Sender()
        text = str(message) if isinstance(message, Encoded) else json.dumps(message)
        self._registry.process_message_raw(sender, text)
        try:
            async with asyncio.timeout(self._timeout):
                return await sender.answer
        except TimeoutError as error:
            raise NoAnswerError("No answer from Snorky in this process") from error
        finally:
            sender.connected = False


class _Sender:
    """Who a service answers. The first message it sends is the response."""

    identity = None
    remote_address = "this process"
    connected = True
    is_trusted = True

    def __init__(self) -> None:
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def send(self, message: Any) -> None:
        if not self.answer.done():
            # As over HTTP: a copy, of what JSON can say.
            self.answer.set_result(standard_json.loads(standard_json.dumps(message)))

    def message_refused(self, reason: str, status: int = 400) -> None:
        if not self.answer.done():
            self.answer.set_exception(RuntimeError(f"Error from Snorky server: {status} {reason}"))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.message_refused(reason or "The request was closed", 500)
