"""What stands in the headers of requests and responses of live lists.

| header                   | in       |                                                        |
|--------------------------|----------|--------------------------------------------------------|
| `X-Snorky: Subscribe`    | request  | the page wants a subscription to what it fetches       |
| `X-Subscription-Token`   | response | the token; `X-Subscription` has the same               |
| `X-Snorky-Keys`          | response | the keys of what a write published, with commas        |
"""

from collections.abc import Iterable, Mapping, Sequence

ASKING = "X-Snorky"
TOKENS = ("X-Subscription-Token", "X-Subscription")  # the manual knows both
KEYS = "X-Snorky-Keys"

MAX_KEYS = 32  # the newest of one response: their positions say all that those of the others say


def wants_subscription(headers: Mapping[str, str]) -> bool:
    """Whether a page asks for a subscription, in any case."""
    return header(headers, ASKING).strip().lower() == "subscribe"


def header(headers: Mapping[str, str], name: str) -> str:
    """The value of a header, whatever the case of its name; "" where it is not there."""
    value = headers.get(name)
    if value is None:
        lower = name.lower()
        value = next((text for key, text in headers.items() if key.lower() == lower), None)
    return value or ""


def reading_headers(*, asked: bool, token: str | None) -> dict[str, str]:
    """The headers of a response with rows."""
    headers = {"Vary": ASKING}
    if asked:
        # Private, since some caches go by nothing else.
        headers["Cache-Control"] = "no-store, private"
    if token is not None:
        headers |= dict.fromkeys(TOKENS, token)
    return headers


def writing_headers(keys: Sequence[str]) -> dict[str, str]:
    """The headers of a response to a write that published under these keys."""
    return {KEYS: ",".join(keys[-MAX_KEYS:])} if keys else {}


def exposed_headers(headers: Iterable[str]) -> str:
    """Those of ours that scripts of other origins may not read unless told so, as one value."""
    return ", ".join(name for name in headers if name in (*TOKENS, KEYS))
