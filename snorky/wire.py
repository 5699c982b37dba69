"""What travels: JSON text, and the envelope that addresses a message to a service.

Knows nothing of connections. Text is made once per message, however many
clients receive it.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from snorky.protocols.websocket_frames import TEXT, encode_frame

_encoder = msgspec.json.Encoder()
_sorted_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()


class MalformedMessage(ValueError):
    """The text is not JSON; its message names the fault."""


def decode(text: str | bytes) -> Any:
    """Decode one JSON value. Raises MalformedMessage."""
    try:
        return _decoder.decode(text)
    except RecursionError as error:
        raise MalformedMessage("nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise MalformedMessage(str(error)) from error


def encode(value: Any) -> bytes:
    """Encode one JSON value as UTF-8.

    What ``json.dumps`` encodes is encoded with the same meaning, except that NaN
    and the infinities, which JSON lacks, become null. Raises TypeError or
    ValueError for what cannot be encoded.
    """
    try:
        return _encoder.encode(value)
    except (TypeError, UnicodeEncodeError):
        # msgspec refuses subclasses of str, int and float (Django's SafeString),
        # None and bool as keys, and lone surrogates.
        text = json.dumps(value)
        try:
            return _encoder.encode(json.loads(text))
        except UnicodeEncodeError:
            return text.encode("ascii")
    except RecursionError as error:
        raise ValueError("nested too deeply, or contains itself") from error


def canonical(value: Any) -> str:
    """Return a text that is equal for two values exactly when they are equal as JSON.

    Keys are sorted, 1.0 is 1, true is not 1 (as Python's ``==`` would have it).
    """
    if type(value) is not str:
        value = _with_plain_numbers(value)
    try:
        return _sorted_encoder.encode(value).decode()
    except (TypeError, UnicodeEncodeError):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _with_plain_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_plain_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


class Envelope(dict[str, Any]):
    """A message with the name of its service: ``{"service": str, "message": any}``.

    ``text`` and ``frame`` are made at the first use and shared by every receiver;
    an envelope is not changed after that.
    """

    __slots__ = ("_frame", "_text")

    def __init__(self, service: str, message: Any) -> None:
        dict.__init__(self, service=service, message=message)
        self._text: bytes | None = None
        self._frame: bytes | None = None

    @property
    def text(self) -> bytes:
        """The JSON text, UTF-8."""
        if self._text is None:
            self._text = encode(self)
        return self._text

    @property
    def frame(self) -> bytes:
        """The text as one WebSocket frame: a server's are unmasked, so it suits everyone."""
        if self._frame is None:
            self._frame = encode_frame(TEXT, self.text)
        return self._frame


def text_frame(message: Any) -> bytes:
    """``message`` (any JSON value) as one WebSocket text frame."""
    if type(message) is Envelope:
        return message.frame
    return encode_frame(TEXT, encode(message))
