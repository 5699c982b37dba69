"""Which JSON Web Tokens are good, and where they are looked for."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from snorky.identity import Authenticated, Handshake, Refused
from snorky.identity.jwt import JWTAuthenticator
from tests.identity.tokens import (
    AUDIENCE,
    EC_KEY,
    RSA_KEY,
    SECRET,
    jwk,
    part,
    public_pem,
    token,
)


def by_secret(**options: Any) -> JWTAuthenticator:
    return JWTAuthenticator(SECRET, algorithms=["HS256"], audience=AUDIENCE, **options)


def refusal(authenticator: JWTAuthenticator, text: str) -> str:
    with pytest.raises(Refused) as refused:
        authenticator.verify(text)
    assert refused.value.status == 401
    return refused.value.reason


def signed(header: Any, claims: Any, secret: bytes = SECRET.encode()) -> str:
    """A token as an attacker makes it: by hand."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


CLAIMS = {"sub": "mallory", "aud": AUDIENCE, "exp": 32503680000}


def test_a_good_token_says_who_it_is_and_until_when() -> None:
    authenticated = by_secret(leeway=5, grace=20).verify(token("alice", lasts=100))

    assert authenticated.identity == "alice"
    assert authenticated.expires_at == pytest.approx(time.time() + 125, abs=5)


def test_the_tokens_made_by_hand_here_are_good_where_nothing_is_wrong_with_them() -> None:
    assert by_secret().verify(signed({"alg": "HS256"}, CLAIMS)).identity == "mallory"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 1, ["HS256"]])
@pytest.mark.parametrize("with_signature", [True, False])
def test_tokens_without_a_signature_are_refused(algorithm: Any, with_signature: bool) -> None:
    text = signed({"alg": algorithm, "typ": "JWT"}, CLAIMS)
    if not with_signature:
        text = text.rpartition(".")[0] + "."

    assert refusal(by_secret(), text) == "Invalid token"


def test_the_public_key_is_no_secret_to_sign_with() -> None:
    pem = public_pem(RSA_KEY)
    forged = signed({"alg": "HS256"}, CLAIMS, pem.encode())
    forged_by_kid = signed({"alg": "HS256", "kid": "a"}, CLAIMS, pem.encode())

    by_pem = JWTAuthenticator(pem, algorithms=["RS256"], audience=AUDIENCE)
    by_set = JWTAuthenticator(
        {"keys": [jwk(RSA_KEY, "a", "RS256")]}, algorithms=["RS256"], audience=AUDIENCE
    )
    for authenticator in (by_pem, by_set):
        assert refusal(authenticator, forged) == "Invalid token"
        assert refusal(authenticator, forged_by_kid) == "Invalid token"
    good = token(key=RSA_KEY, algorithm="RS256", headers={"kid": "a"})
    assert by_pem.verify(good) == by_set.verify(good)


def test_an_allowed_algorithm_is_not_allowed_with_the_key_of_another() -> None:
    keys = {"keys": [jwk(RSA_KEY, "a", "RS256"), jwk(EC_KEY, "b", "ES256")]}
    authenticator = JWTAuthenticator(keys, algorithms=["RS256", "PS256", "ES256"], audience="live")

    assert refusal(authenticator, token(key=RSA_KEY, algorithm="PS256", headers={"kid": "a"})) == (
        "Invalid token"
    )
    assert authenticator.verify(token(key=EC_KEY, algorithm="ES256", headers={"kid": "b"}))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"aud": ["other", "another"]},
        {"aud": AUDIENCE.upper()},
        {"aud": []},
        {"iss": "https://evil.example"},
        {"nbf": 32503600000},
        {"iat": "yesterday"},
        {"exp": "soon"},
        {"exp": None},
        {"sub": ""},
    ],
)
def test_tokens_for_others_by_others_or_not_yet_good_are_refused(claims: dict[str, Any]) -> None:
    authenticator = by_secret(issuer="https://id.example")
    good = {"sub": "alice", "aud": AUDIENCE, "exp": time.time() + 60, "iss": "https://id.example"}

    assert authenticator.verify(signed({"alg": "HS256"}, good)).identity == "alice"
    assert refusal(authenticator, signed({"alg": "HS256"}, good | claims)) == "Invalid token"


@pytest.mark.parametrize("missing", ["aud", "exp", "sub", "iss"])
def test_what_a_token_must_say_it_must_say(missing: str) -> None:
    authenticator = by_secret(issuer="https://id.example")

    text = token(iss="https://id.example", without=(missing,))
    assert refusal(authenticator, text) == "Invalid token"


@pytest.mark.parametrize("exp", ["1e400", "-1e400", "NaN", "1" + "0" * 400, "[]", '"9e9"', "true"])
def test_strange_times_are_refused(exp: str) -> None:
    claims = f'{{"sub": "a", "aud": "live", "exp": {exp}}}'.encode()

    assert refusal(by_secret(), signed({"alg": "HS256"}, claims)) in (
        "Invalid token",
        "Token expired",
    )


def test_an_expired_token_is_refused_within_the_leeway_it_is_not() -> None:
    assert refusal(by_secret(grace=1000), token(lasts=-10)) == "Token expired"
    assert by_secret(leeway=60).verify(token(lasts=-10)).identity == "alice"


NESTED = b'{"a":' * 20_000 + b"1" + b"}" * 20_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "ä.ö.ü",
        lambda: token() + "\n",
        lambda: " " + token(),
        lambda: token() + "=",
        lambda: token().replace(".", "\u3002"),
        "\ud800.\udfff.\ud800",
        "\x00" * 10,
        lambda: "A" * 100_000_000 + "." + token(),
        part({"alg": "HS256"}) + "." + part(b"\xff\xfe") + ".AAAA",
        part([1]) + "." + part([2]) + ".AAAA",
        signed({"alg": "HS256"}, [1, 2]),
        signed({"alg": "HS256", "crit": ["exp"]}, CLAIMS),
        signed({"alg": "HS256", "b64": False, "crit": ["b64"]}, CLAIMS),
        signed({"alg": "HS256", "kid": ["a"]}, CLAIMS, b"wrong"),
        signed(NESTED, CLAIMS),
        signed({"alg": "HS256"}, NESTED),
    ],
    ids=range(22),
)
def test_what_is_no_token_is_refused_whatever_it_is(text: str | Callable[[], str]) -> None:
    text = text if isinstance(text, str) else text()
    assert refusal(by_secret(), text) == "Invalid token"
    assert refusal(by_secret(max_token_length=10**9), text) == "Invalid token"


def test_a_changed_token_is_refused() -> None:
    header, claims, signature = token().split(".")

    assert refusal(by_secret(), f"{header}.{part(CLAIMS)}.{signature}") == "Invalid token"
    other = token(key=SECRET + "!").split(".")[2]
    assert refusal(by_secret(), f"{header}.{claims}.{other}") == "Invalid token"


def test_keys_rotate() -> None:
    old, new = "o" * 32, "n" * 32
    of_old = token(key=old, headers={"kid": "1"})
    of_new = token(key=new, headers={"kid": "2"})
    authenticator = JWTAuthenticator({"1": old}, algorithms=["HS256"], audience=AUDIENCE)
    assert refusal(authenticator, of_new) == "Invalid token"

    authenticator.replace_keys({"1": old, "2": new})
    assert authenticator.verify(of_old) == authenticator.verify(of_new)
    for kid in ({}, {"kid": "3"}, {"kid": "1"}, {"kid": "../2"}):
        assert refusal(authenticator, token(key=new, headers=kid)) == "Invalid token"

    authenticator.replace_keys({"2": new})
    assert refusal(authenticator, of_old) == "Invalid token"
    assert authenticator.verify(of_new)
    with pytest.raises(ValueError, match="32 bytes or more for HS256, got 5"):
        authenticator.replace_keys({"3": "short"})
    assert authenticator.verify(of_new)


@pytest.mark.parametrize(
    ("keys", "options", "fault"),
    [
        (SECRET, {"algorithms": []}, "list of algorithms"),
        (SECRET, {"algorithms": "HS256"}, "list of algorithms"),
        (SECRET, {"algorithms": ["none"]}, "list of algorithms"),
        (SECRET, {"algorithms": ["HS256", "NONE"]}, "list of algorithms"),
        (SECRET, {"algorithms": ["HS256", "RS256"]}, "not both"),
        (SECRET, {"algorithms": ["RS256"]}, "a key for RS256"),
        (SECRET, {"algorithms": ["HS256", "HS512"]}, "64 bytes"),
        (public_pem(RSA_KEY), {"algorithms": ["HS256"]}, "a key for HS256"),
        (SECRET, {"audience": ""}, "audience"),
        (SECRET, {"audience": []}, "audience"),
        (SECRET, {"sources": ()}, "sources"),
        (SECRET, {"sources": "header"}, "sources"),
        (SECRET, {"sources": ["body"]}, "sources"),
        ({}, {}, "at least one key"),
        ({"keys": []}, {}, "at least one key"),
        ({"keys": [jwk(RSA_KEY, "a", "RS256")]}, {}, "at least one key"),
        ({"1": 5}, {}, "text or bytes, got int"),
        ({"keys": [{"kty": "oct", "k": part(b"short"), "alg": "HS256"}]}, {}, "32 bytes"),
    ],
)
def test_careless_configurations_are_refused(keys: Any, options: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        JWTAuthenticator(keys, **{"algorithms": ["HS256"], "audience": AUDIENCE, **options})


def test_keys_of_a_set_that_are_for_something_else_do_not_matter() -> None:
    strange = [{"kty": "???", "kid": "x"}, {**jwk(RSA_KEY, "e", "RS256"), "use": "enc"}]
    keys = {"keys": [*strange, jwk(RSA_KEY, "a", "RS256"), jwk(EC_KEY, "b", "ES256")]}
    authenticator = JWTAuthenticator(keys, algorithms=["ES256"], audience=AUDIENCE)

    assert authenticator.verify(token(key=EC_KEY, algorithm="ES256", headers={"kid": "b"}))
    for kid in ("a", "e", "x"):
        text = token(key=RSA_KEY, algorithm="RS256", headers={"kid": kid})
        assert refusal(authenticator, text) == "Invalid token"


def test_the_identity_is_a_claim_or_what_a_function_makes_of_the_claims() -> None:
    def of_tenant(claims: Any) -> tuple[str, str] | None:
        if claims["tenant"] == "banned":
            raise Refused(403, "Not you")
        return (claims["tenant"], claims["sub"]) if claims["tenant"] else None

    assert by_secret(identity="uid").verify(token(uid=7)).identity == 7
    function = by_secret(identity=of_tenant)
    assert function.verify(token(tenant="acme")).identity == ("acme", "alice")
    assert refusal(function, token(tenant=None)) == "Invalid token"
    with pytest.raises(Refused, match="Not you"):
        function.verify(token(tenant="banned"))


# Where tokens are


def handshake(**headers: str) -> Handshake:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Handshake(
        "/ws",
        named,
        arguments={"token": ["in-query"], "two": ["1", "2"]},
        cookies={"token": "in-cookie"},
    )


def test_sources_are_looked_at_in_their_order_and_others_are_not() -> None:
    everywhere = handshake(
        Authorization="bearer in-header",
        Sec_WebSocket_Protocol="snorky, snorky.jwt.in-subprotocol ,other",
    )

    for sources, expected in {
        ("header", "query"): "in-header",
        ("query", "header"): "in-query",
        ("subprotocol",): "in-subprotocol",
        ("cookie",): "in-cookie",
    }.items():
        assert by_secret(sources=sources).token_in(everywhere) == expected
    assert by_secret().token_in(handshake()) is None
    assert by_secret().token_in(handshake(Authorization="Basic YWxpY2U6")) is None
    assert by_secret(sources=("header", "query")).token_in(handshake()) == "in-query"


def test_a_bad_token_is_not_made_good_by_another_source() -> None:
    authenticator = by_secret(sources=("header", "cookie"))
    cookies = {"token": token()}

    assert authenticator(Handshake("/", {}, cookies=cookies)).identity == "alice"
    with pytest.raises(Refused):
        authenticator(Handshake("/", {"Authorization": "Bearer no"}, cookies=cookies))


def test_two_tokens_are_none() -> None:
    both = f"snorky.jwt.{token()}, snorky.jwt.{token('bob')}"
    with pytest.raises(Refused, match="Invalid token"):
        by_secret()(handshake(Sec_WebSocket_Protocol=both))
    with pytest.raises(Refused, match="Invalid token"):
        by_secret(sources=["query"], parameter="two")(handshake())


def test_no_token_is_said_to_be_missing() -> None:
    with pytest.raises(Refused, match="Missing token"):
        by_secret()(Handshake("/", {}))


def test_two_stays_of_one_person_are_equal() -> None:
    """So requests of one SockJS session belong together, though their tokens differ."""
    assert Authenticated("alice", 1) == Authenticated("alice", 2) != Authenticated("bob", 1)
    assert json.dumps(hash(Authenticated("alice", 1)))
