"""Publish an announcement from a program that is trusted: python announce.py 'text'"""

import os
import sys

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport

url = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
backend = SnorkyBackend(SnorkyHTTPTransport(url, os.environ["SNORKY_API_KEY"]))
backend.call("announcements_backend", "publish", channel="all", message=sys.argv[1])
