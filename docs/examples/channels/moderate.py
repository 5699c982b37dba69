"""Show somebody out, and bring somebody in: python moderate.py"""

import os

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport

url = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
snorky = SnorkyBackend(SnorkyHTTPTransport(url, os.environ["SNORKY_API_KEY"]))

for channel in snorky.call("matches_backend", "channels", prefix="match/"):
    members = snorky.call("matches_backend", "members", channel=channel["channel"])
    print(channel["channel"], *(member["identity"] for member in members))

print(snorky.call("people", "clients", identity="alice"))
warning = {"type": "message", "channel": "match/7", "message": "Be fair"}
snorky.call("people", "send", identity="alice", serviceName="matches", message=warning)
snorky.call("people", "subscribe", identity="alice", serviceName="matches", channel="match/8")
snorky.call("people", "unsubscribe", identity="alice", serviceName="matches", channel="match/7")
print(snorky.call("people", "disconnect", identity="alice"), "closed")
