"""Members only: they bring a token, and a new one before it ends."""

import os

from snorky import ServiceRegistry
from snorky.identity.jwt import JWTAuthenticator
from snorky.services.identity import IdentityBackend, IdentityService
from snorky.services.pubsub import PubSubService


class Inboxes(PubSubService):
    def can_subscribe(self, client, channel):
        return channel == f"inbox of {client.identity}"

    def can_publish(self, client, channel):
        return True


tokens = JWTAuthenticator(os.environ["TOKEN_SECRET"], algorithms=["HS256"], audience="live")
frontend = ServiceRegistry([Inboxes("pubsub")], authenticate=tokens)
frontend.register_service(IdentityService("identity", frontend, tokens))
backend = ServiceRegistry([IdentityBackend("identity_backend", frontend)])
