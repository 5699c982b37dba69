"""News from the web application, which alone publishes: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.pubsub import PubSubBackend, PubSubService


class News(PubSubService):
    def can_publish(self, client, channel):
        return False


news = News("news")
frontend = ServiceRegistry([news])
backend = ServiceRegistry([PubSubBackend("news_backend", news)])
