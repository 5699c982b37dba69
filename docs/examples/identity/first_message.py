"""Clients that can send nothing with their handshake bring the token in their first message."""

import os

from snorky.identity.jwt import JWTAuthenticator
from snorky.services.identity import FirstMessageRegistry
from snorky.services.pubsub import PubSubService

tokens = JWTAuthenticator(os.environ["TOKEN_SECRET"], algorithms=["HS256"], audience="live")
frontend = FirstMessageRegistry([PubSubService("pubsub")], authenticator=tokens)
