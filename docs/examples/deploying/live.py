"""What the server of these pages serves: /opt/snorky/live.py"""

from snorky import ServiceRegistry
from snorky.services.pubsub import PubSubBackend, PubSubService


class News(PubSubService):
    """Everybody may listen, the web application alone may speak."""

    def can_publish(self, client, channel):
        return False


news = News("news")
frontend = ServiceRegistry([news])
backend = ServiceRegistry([PubSubBackend("news_backend", news)])

# Pages of other host names than the one they connect to.
allowed_origins = ["https://www.example.com"]
