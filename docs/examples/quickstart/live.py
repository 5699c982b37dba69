from snorky import ServiceRegistry
from snorky.services.pubsub import PubSubService

frontend = ServiceRegistry([PubSubService("pubsub")])
