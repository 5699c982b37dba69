"""Who is logged in to the web application may connect."""

import os

from snorky import ServiceRegistry
from snorky.identity.web import WebApplicationAuthenticator
from snorky.services.pubsub import PubSubService

url = os.environ.get("WHOAMI_URL", "http://127.0.0.1:8000/whoami")
visitors = WebApplicationAuthenticator(url, cookies=["sessionid"])
frontend = ServiceRegistry([PubSubService("pubsub")], authenticate=visitors)
