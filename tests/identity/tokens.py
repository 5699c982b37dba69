"""Keys and tokens for tests."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "a secret of more than thirty-two bytes, for tests"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
AUDIENCE = "live"


def public_pem(key: Any) -> str:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return str(pem.decode())


def jwk(key: Any, kid: str, algorithm: str) -> dict[str, Any]:
    kind = jwt.get_algorithm_by_name(algorithm)
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": algorithm}


def token(
    name: Any = "alice",
    *,
    key: Any = SECRET,
    algorithm: str = "HS256",
    lasts: float = 600,
    headers: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    **claims: Any,
) -> str:
    """A token that is good for ``lasts`` seconds, with other claims, or without some.

    Made while a test runs: one that is made when its file is read has expired, on a slow machine,
    when its turn comes.
    """
    assert "exp" in claims or "PYTEST_CURRENT_TEST" in os.environ, "make it in a test"
    every = {"sub": name, "aud": AUDIENCE, "exp": time.time() + lasts, **claims}
    kept = {claim: value for claim, value in every.items() if claim not in without}
    return jwt.encode(kept, key, algorithm=algorithm, headers=headers)


def part(value: Any) -> str:
    """One of the three parts of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
