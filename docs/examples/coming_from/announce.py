"""What the web application does where it sent to a group: python announce.py kitchen 'Dinner'"""

import os
import sys

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport

url = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
backend = SnorkyBackend(SnorkyHTTPTransport(url, os.environ["SNORKY_API_KEY"]))
message = {"from": "the house", "text": sys.argv[2]}
backend.call("rooms_backend", "publish", channel=sys.argv[1], message=message)
