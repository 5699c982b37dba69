"""What the server of these pages serves: /opt/snorky/live.py"""

from snorky import ServiceRegistry
from snorky.services.pubsub import PubSubBackend, PubSubService

pubsub = PubSubService("pubsub")
frontend = ServiceRegistry([pubsub])
backend = ServiceRegistry([PubSubBackend("pubsub_backend", pubsub)])

# Pages of other host names than the one they connect to.
allowed_origins = ["https://www.example.com"]
