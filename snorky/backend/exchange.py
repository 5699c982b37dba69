"""One message to Snorky and the answer to it: all but the way it travels.

The blocking and the asyncio connector share this module. It knows the envelope, the RPC answers,
the texts of the errors and the lines of the log; how bytes get to the server is theirs.
"""

import json
import logging
from typing import Any, Protocol

import httpx2

snorky_log = logging.getLogger("snorky")

SHOWN_CHARACTERS = 500  # of a body that is no JSON, in an exception's text


class SnorkyError(Exception):
    """The service answered the call with an error; ``str()`` is its text."""


class NoAnswerError(RuntimeError):
    """No answer came: the server is not there, did not answer in time or hung up.

    ``hung_up`` tells the last of these: somebody is there, and may have carried it out.
    """

    def __init__(self, text: str, *, hung_up: bool = False) -> None:
        super().__init__(text)
        self.hung_up = hung_up


class Encoded(str):
    """JSON text of an envelope: sent as it is, where others are encoded."""

    __slots__ = ()


class StatusError(RuntimeError):
    """The server answered with another status than 200; ``status`` and what it says of it."""

    def __init__(self, text: str, status: int, reason: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason

    @property
    def said(self) -> str | None:
        """What a back end of Snorky says of it; None where somebody else answered."""
        try:
            match json.loads(self.reason):
                case {"error": str(text)}:
                    return text
        except ValueError:
            pass
        return None


class JSON(Protocol):
    """What encodes and decodes: the standard ``json`` module or anything of its shape."""

    def dumps(self, obj: Any, /) -> str | bytes: ...

    def loads(self, s: str, /) -> Any: ...


def call_envelope(service: str, command: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope of an RPC call."""
    snorky_log.debug("Service: %s, Call: %s %s", service, command, params)
    return {"service": service, "message": {"command": command, "params": params}}


def encoded_call(service: str, command: str, params: str) -> Encoded:
    """Return the envelope of an RPC call whose parameters are JSON text already."""
    snorky_log.debug("Service: %s, Call: %s %s", service, command, params)
    message = f'{{"command":{json.dumps(command)},"params":{params}}}'
    return Encoded(f'{{"service":{json.dumps(service)},"message":{message}}}')


def call_result(envelope: Any) -> Any:
    """Return the value a command answered. Raises SnorkyError with the text of its error."""
    match envelope:
        case {"message": {"type": "response", "data": data}}:
            snorky_log.debug("Response: %s", data)
            return data
        case {"message": {"type": "error", "message": text}}:
            snorky_log.debug("Error: %s", text)
            raise SnorkyError(text)
    raise RuntimeError(f"Expected a response or an error from Snorky, got: {_cut(str(envelope))}")


def bare_envelope(message: Any) -> Any:
    """Return an envelope that is sent as it is."""
    snorky_log.debug("Envelope: %s", message)
    return message


def bare_answer(envelope: Any) -> Any:
    """Return the envelope that answers a bare one."""
    snorky_log.debug("Answer: %s", envelope)
    return envelope


class Address:
    """Where a backend listens, and the key that opens it.

    The key stays inside: no text made here contains it, whatever the server or the network says.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = _checked_url(url)
        self._key = _checked_key(key)

    @property
    def is_https(self) -> bool:
        """Whether certificates are needed. Loading them takes 0.1 s, so not for plain HTTP."""
        return self._url.scheme == "https"

    def request(self, message: Any, json: JSON) -> httpx2.Request:
        """Return the POST that carries ``message``; raises what ``json.dumps`` raises."""
        text = message if isinstance(message, Encoded) else json.dumps(message)
        return httpx2.Request(
            "POST",
            self._url,
            content=text.encode() if isinstance(text, str) else text,
            headers={b"Content-Type": b"application/json", b"X-Backend-Key": self._key.encode()},
        )

    def answer(self, response: httpx2.Response, json: JSON) -> Any:
        """Return the decoded envelope of a response that has been read."""
        body = response.content.decode("utf-8", "replace")
        if not response.is_success:
            status = f"{response.status_code} {response.reason_phrase}"
            # The body may tell why, but the error's text is a fixed one.
            body = self._hide_key(body)
            snorky_log.debug("Error: %s: %s", status, body)
            raise StatusError(f"Error from Snorky server: {status}", response.status_code, body)
        try:
            return json.loads(body)
        except ValueError:
            # Without the cause: a decoder's error carries the whole body.
            raise RuntimeError(f"Non-JSON response from Snorky: {self._hide_key(body)}") from None

    def away(self, error: httpx2.HTTPError) -> NoAnswerError:
        """Return what to raise for an exchange that failed on its way."""
        detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        hung_up = isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError)
        text = f"No answer from Snorky at {self}: {self._hide_key(detail)}"
        return NoAnswerError(text, hung_up=hung_up)

    def __str__(self) -> str:
        # Neither user information nor query: either may hold a secret.
        return f"{self._url.scheme}://{self._url.netloc.decode()}{self._url.path}"

    def _hide_key(self, text: str) -> str:
        # Debugging proxies and error pages echo the request's headers.
        return _cut(text.replace(self._key, "[key]"))


def _checked_url(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"The backend's URL is not valid: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("The backend's URL must be like http://127.0.0.1:5002/backend")
    return parsed


def _checked_key(key: str) -> str:
    # Found here, since later the HTTP client would quote the header in its error.
    if not key or not key.isprintable() or key != key.strip():
        raise ValueError("The backend's key must be printable text, without spaces around it")
    return key


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."
