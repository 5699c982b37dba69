"""Publish/subscribe, open by default: every client may subscribe to and publish on every channel.

Who subscribes to a channel receives what is published on it. A channel is nothing but that, unless
``ChannelOptions`` say that it has a past, is conflated, or tells who is there.
"""

from snorky.past import History
from snorky.services.pubsub.backend import PubSubBackend
from snorky.services.pubsub.frontend import PubSubService
from snorky.services.pubsub.options import ChannelOptions, Conflate

__all__ = ["ChannelOptions", "Conflate", "History", "PubSubBackend", "PubSubService"]
