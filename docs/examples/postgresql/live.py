"""News that several processes serve, joined by the database that is there already."""

import os

from snorky import ServiceRegistry
from snorky.brokers.postgres import PostgresBroker
from snorky.services.pubsub import PubSubBackend, PubSubService


class News(PubSubService):
    """Everybody may listen, the web application alone may speak."""

    def can_publish(self, client, channel):
        return False


news = News("news")
frontend = ServiceRegistry([news])
backend = ServiceRegistry([PubSubBackend("news_backend", news)])
broker = PostgresBroker(os.environ["SNORKY_DATABASE_URL"], make_schema=False)
