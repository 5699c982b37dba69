"""Announcements: everybody reads them, only trusted programs publish them."""

from snorky import ServiceRegistry
from snorky.services.pubsub import PubSubBackend, PubSubService


class Announcements(PubSubService):
    def can_publish(self, client, channel):
        return False


announcements = Announcements("announcements")

frontend = ServiceRegistry([announcements])
backend = ServiceRegistry([PubSubBackend("announcements_backend", announcements)])
