"""JSON Web Tokens: who a token names, and until when. Needs the extra ``snorky[jwt]``.

Knows where handshakes carry tokens and which tokens are good (RFC 7519, RFC 8725); PyJWT does the
cryptography. What a token says is never logged; why it is refused, its age aside, nobody is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jwt

from snorky.identity import Authenticated, Handshake, Refused

SUBPROTOCOL_PREFIX = "snorky.jwt."
"""Pages cannot set headers: they offer this, with the token behind it, beside ``snorky``."""

SOURCES = ("header", "subprotocol", "query", "cookie", "auth")

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}

Key = str | bytes | jwt.PyJWK
Keys = str | bytes | Mapping[str, Any]


class JWTAuthenticator:
    """Makes of the token in a handshake an ``Authenticated``: ``authenticate=`` of a registry.

    ``key_or_jwks``: a secret or a public key (PEM); several by their ``kid``, ``{"2026": key}``;
    or a JWK set, ``{"keys": [...]}``. ``algorithms`` are either HMAC's or those of public keys,
    never both. A token must have one of them, name the ``audience`` (and ``issuer``, where given)
    and expire; clocks may differ by ``leeway`` seconds. The connection may stay for ``grace``
    seconds more, so that the peer can bring a new token.

    ``identity``: the claim that says who it is, or a function of the claims, which may raise
    Refused. ``sources``: where to look, in this order; the first that has a token decides.
    ``auth`` is what Socket.IO calls so. ``parameter`` is the token's name there and in the query,
    ``cookie`` its name among the cookies. Proxies log queries, and cookies come with whatever page
    connects: neither is looked at by default.
    """

    def __init__(
        self,
        key_or_jwks: Keys,
        *,
        algorithms: Sequence[str],
        audience: str | Sequence[str],
        issuer: str | None = None,
        leeway: float = 0,
        grace: float = 30,
        identity: str | Callable[[Mapping[str, Any]], Any] = "sub",
        sources: Sequence[str] = ("header", "subprotocol"),
        parameter: str = "token",
        cookie: str = "token",
        max_token_length: int = 8192,
    ) -> None:
        self._algorithms = _checked_algorithms(algorithms)
        if not audience:
            raise ValueError("expected an audience: without one, tokens for others are good too")
        if isinstance(sources, str) or not sources or not set(sources) <= set(SOURCES):
            raise ValueError(f"expected sources among {', '.join(SOURCES)}, got {sources!r}")
        self._audience = audience if isinstance(audience, str) else list(audience)
        self._issuer = issuer
        self._leeway = leeway
        self._grace = grace
        self._identity = identity
        self._sources = tuple(sources)
        self._parameter = parameter
        self._cookie = cookie
        self._max_token_length = max_token_length
        self.replace_keys(key_or_jwks)

    def replace_keys(self, key_or_jwks: Keys) -> None:
        """Trust these keys from now on, and no others. Raises ValueError, and changes nothing,
        where one of them does not fit the algorithms."""
        keys: dict[str | None, Key]
        if isinstance(key_or_jwks, str | bytes):
            keys = {None: key_or_jwks}
        elif "keys" in key_or_jwks and not isinstance(key_or_jwks["keys"], str | bytes):
            keys = _keys_of_set(key_or_jwks["keys"], self._algorithms)
        else:
            keys = {str(kid): key for kid, key in key_or_jwks.items()}
        if not keys:
            raise ValueError("expected at least one key")
        for key in keys.values():
            _check_key(key, self._algorithms)
        self._keys = keys

    def __call__(self, handshake: Handshake) -> Authenticated:
        token = self.token_in(handshake)
        if token is None:
            raise Refused(401, "Missing token")
        return self.verify(token)

    def token_in(self, handshake: Handshake) -> str | None:
        """The token that the peer brings; None where it brings none."""
        for source in self._sources:
            found = list(self._tokens_in(handshake, source))
            if len(found) > 1:
                raise Refused(401, "Invalid token")  # which one is meant?
            if found:
                return found[0]
        return None

    def _tokens_in(self, handshake: Handshake, source: str) -> Iterable[str]:
        if source == "header":
            scheme, _, token = handshake.headers.get("Authorization", "").partition(" ")
            return [token.strip()] if scheme.lower() == "bearer" else []
        if source == "subprotocol":
            offered = handshake.headers.get("Sec-WebSocket-Protocol", "").split(",")
            names = (name.strip() for name in offered)
            prefix = SUBPROTOCOL_PREFIX
            return (name[len(prefix) :] for name in names if name.startswith(prefix))
        if source == "query":
            return handshake.arguments.get(self._parameter, ())
        if source == "auth":
            auth = getattr(handshake, "auth", None)
            given = auth.get(self._parameter) if isinstance(auth, dict) else None
            return [given] if isinstance(given, str) else []
        return [handshake.cookies[self._cookie]] if self._cookie in handshake.cookies else []

    def verify(self, token: str) -> Authenticated:
        """Whose token it is, and until when they may stay. Raises Refused where it is not good."""
        if len(token) > self._max_token_length or not _TOKEN.fullmatch(token):
            raise Refused(401, "Invalid token")
        try:
            claims = self._claims_of(token)
            expires_at = float(claims["exp"]) + self._leeway + self._grace
        except jwt.ExpiredSignatureError as error:
            raise Refused(401, "Token expired") from error
        except (jwt.PyJWTError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
            raise Refused(401, "Invalid token") from error
        identity = (
            claims.get(self._identity)
            if isinstance(self._identity, str)
            else self._identity(claims)
        )
        if identity is None or identity == "":
            raise Refused(401, "Invalid token")
        return Authenticated(identity, expires_at)

    def _claims_of(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        key = self._key_of(header.get("kid"))
        # A key of a set is good for its own algorithm only, whatever the token says.
        own = [key.algorithm_name] if isinstance(key, jwt.PyJWK) else self._algorithms
        return jwt.decode(
            token,
            key,
            algorithms=own,
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway,
            options={"require": ["exp", "aud"]},
        )

    def _key_of(self, kid: object) -> Key:
        if None in self._keys:
            return self._keys[None]  # the only one, and it has no name
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if not isinstance(kid, str) or kid not in self._keys:
            raise jwt.InvalidTokenError("no such key")
        return self._keys[kid]


def _checked_algorithms(algorithms: Sequence[str]) -> list[str]:
    known = set(jwt.algorithms.get_default_algorithms()) - {"none"}
    if isinstance(algorithms, str) or not algorithms or not set(algorithms) <= known:
        expected = ", ".join(sorted(known))
        raise ValueError(f"expected a list of algorithms among {expected}, got {algorithms!r}")
    if len({algorithm.startswith("HS") for algorithm in algorithms}) > 1:
        # A public key taken for a secret: whoever knows it could sign.
        raise ValueError(f"expected secrets' algorithms or public keys', not both: {algorithms!r}")
    return list(algorithms)


def _keys_of_set(
    members: Iterable[Mapping[str, Any]], algorithms: list[str]
) -> dict[str | None, Key]:
    """Those that sign with ``algorithms``; a set may hold others (RFC 7517, 5)."""
    keys: dict[str | None, Key] = {}
    members = [member for member in members if member.get("use", "sig") == "sig"]
    for member in members:
        try:
            key = jwt.PyJWK(dict(member))
        except jwt.PyJWTError:
            continue
        if key.algorithm_name not in algorithms:
            continue
        if key.key_id is None and len(members) > 1:
            raise ValueError("expected a kid for each of several keys")
        if key.key_id in keys:
            raise ValueError(f"expected keys with different kids, got {key.key_id!r} twice")
        keys[key.key_id] = key
    return keys


def _check_key(key: Key, algorithms: list[str]) -> None:
    if isinstance(key, jwt.PyJWK):
        _check_length(key.key, key.algorithm_name)
        return
    if not isinstance(key, str | bytes):
        raise ValueError(f"expected keys as text or bytes, got {type(key).__name__}")
    for algorithm in algorithms:
        _check_length(key, algorithm)
        try:
            jwt.get_algorithm_by_name(algorithm).prepare_key(key)
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise ValueError(f"expected a key for {algorithm}") from error


def _check_length(secret: Any, algorithm: str) -> None:
    needed = _HASH_BYTES.get(algorithm)  # RFC 7518, 3.2
    if needed is not None:
        length = len(secret.encode() if isinstance(secret, str) else secret)
        if length < needed:
            raise ValueError(
                f"expected a secret of {needed} bytes or more for {algorithm}, got {length}"
            )
