"""Tokens and origins: nobody is let in whom a stricter reader would not let in."""

# ruff: noqa: PT017  # whether something raises is what is asked here
from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snorky.identity import Handshake, Refused, origin_allowed
from snorky.identity.jwt import JWTAuthenticator
from tests.fuzz.lengths import examples
from tests.fuzz.origins import check_origin
from tests.fuzz.values import json_values, same, texts
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

FOREVER = 4102444800
SETS = {
    "HS256": JWTAuthenticator(SECRET, algorithms=["HS256"], audience=AUDIENCE),
    "HS512": JWTAuthenticator(
        {"a": SECRET * 2, "b": "another " * 20}, algorithms=["HS256", "HS512"], audience=AUDIENCE
    ),
    "RS256": JWTAuthenticator(public_pem(RSA_KEY), algorithms=["RS256"], audience=AUDIENCE),
    "set": JWTAuthenticator(
        {"keys": [jwk(RSA_KEY, "a", "RS256"), jwk(EC_KEY, "b", "ES256")]},
        algorithms=["RS256", "ES256"],
        audience=AUDIENCE,
    ),
}
GOOD = {
    "HS256": token(exp=FOREVER),
    "HS512": token(exp=FOREVER, key=SECRET * 2, algorithm="HS512", headers={"kid": "a"}),
    "RS256": token(exp=FOREVER, key=RSA_KEY, algorithm="RS256"),
    "set": token(exp=FOREVER, key=EC_KEY, algorithm="ES256", headers={"kid": "b"}),
}
PUBLIC = [public_pem(RSA_KEY), public_pem(EC_KEY), json.dumps(jwk(RSA_KEY, "a", "RS256")), "", "a"]
ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "none", "None", "nOnE"]


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def seen_by(name: str, text: str) -> Any:
    """The identity that a token gives; None where it is refused, as all that is not good is."""
    try:
        return SETS[name].verify(text).identity
    except Refused as refused:
        assert refused.status == 401
        assert refused.reason in ("Invalid token", "Token expired")
        return None


@pytest.mark.parametrize("name", GOOD)
def test_what_is_changed_below_is_good_before(name: str) -> None:
    assert seen_by(name, GOOD[name]) == "alice"


@st.composite
def changed_tokens(draw: st.DrawFn) -> tuple[str, str]:
    """A good token with some other header, claims or signature; and with some other key's."""
    name = draw(st.sampled_from(sorted(GOOD)))
    head, claims, signature = GOOD[name].split(".")
    header, body = json.loads(decoded(head)), json.loads(decoded(claims))
    for _ in range(draw(st.integers(1, 3))):
        change = draw(st.sampled_from(["header", "claim", "signature", "text", "forge", "parts"]))
        if change == "header":
            key = draw(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c"]))
            odd = st.sampled_from([*ALGORITHMS, "a", "b", False, ["b64"], ["exp"], SECRET])
            header[key] = draw(odd | json_values)
            head = part(header)
        elif change == "claim":
            key = draw(st.sampled_from(["sub", "aud", "exp", "nbf", "iat", "iss", "admin"]))
            body[key] = draw(json_values)
            claims = part(body)
        elif change == "signature":
            signature = draw(st.sampled_from(["", "AA", signature[:-4], signature * 2, claims]))
        elif change == "parts":
            head, claims, signature = draw(st.permutations([head, claims, signature]))
        elif change == "text":
            place = draw(st.integers(0, len(claims)))
            claims = claims[:place] + draw(st.sampled_from("A=.-_+/ \n")) + claims[place + 1 :]
        else:  # what everybody knows as a secret: the confusion of public keys with secrets
            forged = {**header, "alg": draw(st.sampled_from(["HS256", "HS512"]))}
            head = part(forged)
            algorithm = jwt.algorithms.HMACAlgorithm(
                {"HS256": jwt.algorithms.HMACAlgorithm.SHA256}.get(
                    forged["alg"], jwt.algorithms.HMACAlgorithm.SHA512
                )
            )
            known = draw(st.sampled_from(PUBLIC)).encode()
            signature = part(algorithm.sign(f"{head}.{claims}".encode(), known))
    return name, f"{head}.{claims}.{signature}"


@examples(300)
@given(changed_tokens())
def test_no_change_of_a_token_is_accepted(change: tuple[str, str]) -> None:
    name, text = change
    if seen_by(name, text) is None:
        return
    # Changes may cancel each other, and the last characters of base64 have bits that say nothing.
    for before, after in zip(GOOD[name].split("."), text.split("."), strict=True):
        assert decoded(before) == decoded(after), "a token that nobody signed"


@examples(300)
@given(
    st.dictionaries(
        st.sampled_from(["sub", "aud", "exp", "nbf", "iat", "iss", "jti"]),
        st.one_of(
            json_values,
            st.sampled_from(
                [
                    AUDIENCE,
                    [AUDIENCE],
                    [AUDIENCE, 1],
                    FOREVER,
                    float(FOREVER),
                    str(FOREVER),
                    "1e400",
                ]
            ),
        ),
    )
)
def test_claims_of_any_type_are_refused_or_mean_what_they_say(claims: dict[str, Any]) -> None:
    """Signed by ourselves: a web application may put anything in its tokens."""
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    text += "." + part(signer.sign(text.encode(), SECRET.encode()))
    identity = seen_by("HS256", text)
    if identity is None:
        return
    assert isinstance(identity, str)
    assert same(identity, claims["sub"])
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    assert AUDIENCE in audiences
    assert float(claims["exp"]) > time.time()
    assert float(claims.get("nbf") or 0) <= time.time() + 1
    assert isinstance(SETS["HS256"].verify(text).expires_at, float)


@examples(200)
@given(texts | st.text(st.sampled_from("abcAB01_-=."), max_size=40))
def test_what_is_no_token_is_refused(text: str) -> None:
    for name in SETS:
        assert seen_by(name, text) is None


fields = st.sampled_from(["Bearer", "bearer  ", "BEARER\t", "Basic", "Bearer,", ""])


@examples(200)
@given(
    st.lists(st.tuples(fields, texts | st.sampled_from([GOOD["HS256"], "snorky"])), max_size=2),
    st.lists(st.sampled_from(["snorky", "snorky.jwt.", "x"]), max_size=3),
)
def test_a_handshake_is_refused_or_names_who_signed(
    authorization: list[tuple[str, str]], offered: list[str]
) -> None:
    headers = {}
    if authorization:
        headers["Authorization"] = ",".join(f"{scheme} {text}" for scheme, text in authorization)
    if offered:
        headers["Sec-WebSocket-Protocol"] = ", ".join(offered)
    try:
        admitted = SETS["HS256"](Handshake(path="/", headers=headers))
    except Refused as refused:
        assert refused.status == 401
    else:
        assert admitted.identity == "alice"
        assert GOOD["HS256"] in headers["Authorization"]


# Origins

hosts = st.one_of(
    st.sampled_from(
        [
            *("example.com", "EXAMPLE.com.", "example.com..", "www.example.com", "example.com:80"),
            *("localhost", "localhost.", "a.localhost:1", "127.0.0.1", "127.1", "0x7f.1", "0"),
            *(
                "[::1]",
                "[::1]:80",
                "[0:0::1]",
                "[::ffff:127.0.0.1]",
                "[::1",
                "::1",
                "[fe80::1%25a]",
            ),
            *("", ".", ":80", "a:b", "a:99999", "a@b", "a,b", "a b", "xn--e1a.example", "a_b"),
            *("evil.example#example.com", "evil.example?example.com", "example.com@evil.example"),
            *(
                "evil.example\\example.com",
                "example.com%2eevil",
                "example.com\n",
                "ex\u0430mple.com",
            ),
        ]
    ),
    st.text(st.sampled_from("abA.:[]-_@/0129%\\\t é\u212a"), max_size=10),
)
origins = st.one_of(
    st.just("null"),
    st.just("NULL"),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(
            ["http://", "https://", "HTTPS://", "http:", "http:///", "file://", "a+b://", "//", ""]
        ),
        hosts,
        st.sampled_from(["", "", "", "/", "/path", ":80", "?", "#", "\0"]),
    ),
)


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[str, str]:
    """A page of a host, and a host that looks like it."""
    host = draw(hosts)
    before = draw(st.sampled_from(["", "", "www.", "x", "x-", "evil.example/", "a@", ".", "["]))
    behind = draw(st.sampled_from(["", "", ".evil.example", "x", ".", "/", "#", ":1", "]", "%2e"]))
    page = draw(st.sampled_from(["http://", "https://"])) + before + host + behind
    return draw(st.sampled_from([(page, host), (f"http://{host}", before + host + behind)]))


@examples(500)
@given(st.tuples(origins, hosts) | neighbours())
def test_only_pages_of_our_own_host_are_allowed(both: tuple[str, str]) -> None:
    check_origin(*both)


@examples(200)
@given(origins, hosts)
def test_a_list_allows_what_it_lists_and_nothing_else(page: str, host: str) -> None:
    listed = ["https://app.example", "http://other.example:8000"]
    allowed = origin_allowed(page, host, listed)
    plain = page.lower().rstrip("/")
    assert allowed == (plain in listed or (plain != "null" and origin_allowed(page, host)))
