"""python ring.py NAME"""

import os
import sys

from snorky.backend import NoAnswerError, SnorkyBackend, SnorkyError, SnorkyHTTPTransport

url = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
snorky = SnorkyBackend(SnorkyHTTPTransport(url, os.environ["SNORKY_API_KEY"], timeout=2))

try:
    heard = snorky.call("doorbell_backend", "ring", visitor=sys.argv[1])
except SnorkyError as error:
    print(f"Refused: {error}")
except NoAnswerError as error:
    print(f"Perhaps: {error}")
except RuntimeError as error:
    print(f"Not done: {error}")
else:
    print(f"{heard} heard it")
