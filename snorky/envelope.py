"""The envelope that addresses a message to a service.

Knows nothing of connections. Text is made once per message, however many
clients receive it.
"""

from __future__ import annotations

from typing import Any

from snorky.protocols.websocket_frames import TEXT, encode_frame
from snorky.wire import decode, encode


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

    @classmethod
    def received(cls, text: bytes) -> Envelope:
        """The envelope that another process made this ``text`` of. Raises MalformedMessage."""
        value = decode(text)
        envelope = cls(value["service"], value["message"])
        envelope._text = text
        return envelope

    @property
    def text(self) -> bytes:
        """The JSON text, UTF-8."""
        if self._text is None:
            self._text = encode(self)
        return self._text

    @property
    def frame(self) -> bytes:
        """The text as one WebSocket frame: a server's are unmasked, so it suits everyone."""
        frame = self._frame
        if frame is None:
            text = self._text
            if text is None:
                text = self._text = encode(self)
            frame = self._frame = encode_frame(TEXT, text)
        return frame


def text_frame(message: Any) -> bytes:
    """``message`` (any JSON value) as one WebSocket text frame."""
    if type(message) is Envelope:
        return message.frame
    return encode_frame(TEXT, encode(message))
