"""Close all connections of somebody: python log_out.py alice"""

import os
import sys

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport

url = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
backend = SnorkyBackend(SnorkyHTTPTransport(url, os.environ["SNORKY_API_KEY"]))
closed = backend.call("identity_backend", "disconnect", identity=sys.argv[1])
print(f"{closed} closed")
