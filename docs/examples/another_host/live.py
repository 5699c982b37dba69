"""https://live.example.com: snorky serve live.py"""

import os

from snorky import ServiceRegistry
from snorky.identity.jwt import JWTAuthenticator
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer


class Notes(FilterDealer):
    model = "Note"


tokens = JWTAuthenticator(os.environ["TOKEN_SECRET"], algorithms=["HS256"], audience="notes")
datasync = DataSyncService("datasync", [Notes])
frontend = ServiceRegistry([datasync], authenticate=tokens)
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])

# The page's origin: scheme, host and port, without a path.
allowed_origins = [os.environ.get("PAGE", "https://app.example.com")]
