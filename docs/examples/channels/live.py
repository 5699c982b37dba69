"""Matches whose pages miss no goal: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.identity import IdentityBackend
from snorky.services.pubsub import (
    ChannelOptions,
    Conflate,
    History,
    PubSubBackend,
    PubSubService,
)


class Matches(PubSubService):
    def can_publish(self, client, channel):
        return False  # only the back end does


matches = Matches(
    "matches",
    channels={
        # Goals and cards: whoever was away hears of all of them, and sees who else watches.
        "match/*": ChannelOptions(history=History(entries=200, seconds=600), presence="members"),
        # A hundred positions a second: the newest of each player, five times a second.
        "field/*": ChannelOptions(conflate=Conflate(key="player", per_second=5)),
        # Everybody is here: how many is enough.
        "lobby": ChannelOptions(presence="count"),
    },
)

frontend = ServiceRegistry(
    [matches], authenticate=lambda handshake: handshake.arguments.get("name", [None])[0]
)
backend = ServiceRegistry(
    [PubSubBackend("matches_backend", matches), IdentityBackend("people", frontend)]
)
