"""Tokens: what a page may see and from where on, signed, so that nobody keeps them.

A token is URL-safe text: the first bytes of an HMAC-SHA256 and compact JSON. Its holder can read
it; nobody else can make one. What is too large for a header is kept by the broker instead, under
the token's origin.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import inspect
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Iterable
from time import time
from typing import Any, NamedTuple

import msgspec

from snorky.brokers import Broker
from snorky.brokers.log import Position
from snorky.hashable import hashable
from snorky.wire import decode, encode

MAX_TOKEN_LENGTH = 1500
"""Characters. nginx takes 4 KiB of headers by default, and a token stands in two of them."""

SIGNATURE_BYTES = 18

_BLOCK_BYTES = 64
"""Of SHA-256: HMAC fills shorter keys up."""

_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")

FIRST, RESUME = "f", "r"

ITEMS_KNOWN = 4000
"""Different items of tokens that are remembered by their text, to be read once."""


class TokenItems(list[tuple[str, Any]]):
    """Dealer and query of each item of a token: shared by the tokens that say the same."""

    __slots__ = ("dealt", "text")

    def __init__(self, items: Iterable[tuple[str, Any]], text: bytes | None = None) -> None:
        super().__init__(items)
        self.text = encode(self) if text is None else text
        """Their JSON."""
        self.dealt: Any = None
        """What an opening found of dealers and queries; see there."""


class BadToken(Exception):
    """The text is no token of ours; ``epoch`` is what it claims, where it can be read."""

    def __init__(self, epoch: str | None = None) -> None:
        super().__init__("expected a token of this service")
        self.epoch = epoch


class Token(NamedTuple):
    """What a token says. Times are seconds since 1970."""

    kind: str
    """``FIRST``, or ``RESUME``: given out by an opening."""
    origin: str
    """The same for a first token and all that renew it."""
    start: Position
    expires: int
    recheck: int
    """When the web application must be asked again."""
    subject: Any
    items: TokenItems | None
    """Dealer and query of each; None: the broker keeps them."""
    text: str | None = None
    """Its text, where that was read and signed with the key that signs now."""


class Tokens:
    """Makes and reads the tokens of one service.

    The first of ``keys`` signs, all of them open: keys are changed without a pause.
    """

    def __init__(self, name: str, broker: Broker, keys: Iterable[bytes]) -> None:
        self._prefix = f"datasync:{name}:"
        self._broker = broker
        self.sign_with(keys)
        self._large: OrderedDict[str, None] = OrderedDict()
        self._known: dict[bytes, TokenItems] = {}

    def sign_with(self, keys: Iterable[bytes]) -> None:
        """Other keys from now on."""
        self._signatures = [_Signature(key) for key in keys]

    def make(self, token: Token, most: int, seconds: float) -> tuple[str, Awaitable[None] | None]:
        """The text of a token, and what must be waited for before it can be used.

        The broker keeps what is too large for ``seconds``, ``most`` at a time: the oldest goes.
        """
        text = self._sign(token)
        if len(text) <= MAX_TOKEN_LENGTH:
            return text, None
        rest = token._replace(items=None, subject=None)
        return self._sign(rest), self._keep(token, most, seconds)

    def read(self, text: Any) -> Token:
        """The token of a text, its ``items`` perhaps with the broker. Raises BadToken."""
        if not isinstance(text, str) or not 32 <= len(text) <= MAX_TOKEN_LENGTH:
            raise BadToken
        try:
            raw = binascii.a2b_base64(text.encode("ascii").translate(_FROM_URL_SAFE) + b"==")
            signature, payload = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
            kind, origin, start, expires, recheck, subject, items = _payload.decode(payload)
            position = Position.parse(start)
            newest = True
            for ours in self._signatures:
                if hmac.compare_digest(ours.of(payload), signature):
                    break
                newest = False
            else:
                raise BadToken(position.epoch)
            return Token(
                kind,
                origin,
                position,
                expires,
                recheck,
                _value(subject),
                self._items(bytes(items)),
                text if newest else None,
            )
        except (ValueError, TypeError, msgspec.MsgspecError, RecursionError) as error:
            raise BadToken from error

    def fetch(self, token: Token) -> Token | Awaitable[Token]:
        """The token with its items. Raises BadToken where they are kept no longer."""
        if token.items is not None:
            return token
        kept = self._broker.get(self._prefix + token.origin)
        return self._fetched(token, kept) if inspect.isawaitable(kept) else _whole(token, kept)

    async def _fetched(self, token: Token, kept: Awaitable[Any]) -> Token:
        return _whole(token, await kept)

    def claim(self, token: Token) -> bool | Awaitable[bool]:
        """Use a first token up, for as long as it could be used: True for the first who does."""
        return self.burn(token.origin, max(1.0, token.expires - time()))

    def burn(self, origin: str, seconds: float) -> bool | Awaitable[bool]:
        return self._broker.claim(f"{self._prefix}{origin}:acquired", seconds)

    def _items(self, text: bytes) -> TokenItems | None:
        if text == b"null":
            return None
        known = self._known.get(text)
        if known is None:
            known = TokenItems(((name, hashable(query)) for name, query in decode(text)), text)
        return known

    def remember(self, items: TokenItems) -> None:
        """Others hold the same: theirs need not be read again."""
        if items.text not in self._known:
            if len(self._known) >= ITEMS_KNOWN:
                self._known.clear()
            self._known[items.text] = items

    def _keep(self, token: Token, most: int, seconds: float) -> Awaitable[None] | None:
        # Under its origin: renewals say the same, so that it is kept once.
        assert token.items is not None
        self._large[token.origin] = None
        self._large.move_to_end(token.origin)
        value = [[list(item) for item in token.items], token.subject]
        work = [self._broker.put(self._prefix + token.origin, value, seconds)]
        while len(self._large) > most:
            oldest, _ = self._large.popitem(last=False)
            work.append(self._broker.delete(self._prefix + oldest))
        under_way = [each for each in work if each is not None]
        return _all(under_way) if under_way else None

    def _sign(self, token: Token) -> str:
        payload = encode(
            [
                token.kind,
                token.origin,
                str(token.start),
                token.expires,
                token.recheck,
                token.subject,
                None if token.items is None else msgspec.Raw(token.items.text),
            ]
        )
        signature = self._signatures[0].of(payload)
        return base64.urlsafe_b64encode(signature + payload).rstrip(b"=").decode("ascii")


class _Signature:
    """HMAC-SHA256 (RFC 2104) by one key, cut short. What depends on the key alone is done once:
    ``hmac.digest`` does it again for every token, which takes twice as long."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def of(self, payload: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(payload)
        outer.update(inner.digest())
        return outer.digest()[:SIGNATURE_BYTES]


def new_origin() -> str:
    return secrets.token_urlsafe(9)


def signing_keys(secret_texts: Iterable[str | bytes]) -> list[bytes]:
    """Keys for tokens from secrets that are used for something else, too."""
    texts = (text.encode() if isinstance(text, str) else text for text in secret_texts)
    return [hmac.digest(text, b"snorky DataSync tokens", "sha256") for text in texts]


_payload = msgspec.json.Decoder(tuple[str, str, str, int, int, msgspec.Raw, msgspec.Raw])


def _value(text: msgspec.Raw) -> Any:
    raw = bytes(text)
    return None if raw == b"null" else hashable(decode(raw))


def _whole(token: Token, kept: Any) -> Token:
    if kept is None:
        raise BadToken
    items, subject = kept
    whole = TokenItems((name, hashable(query)) for name, query in items)
    # Not to be answered as it is: the broker has to be told that it is needed for longer.
    return token._replace(items=whole, subject=hashable(subject), text=None)


async def _all(work: list[Awaitable[Any]]) -> None:
    for each in work:
        await each
