"""Channels that only the worker publishes on: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.pubsub import PubSubBackend, PubSubService


class Jobs(PubSubService):
    def can_publish(self, client, channel):
        return False


jobs = Jobs("jobs")
frontend = ServiceRegistry([jobs])
backend = ServiceRegistry([PubSubBackend("jobs_backend", jobs)])
