"""Publish an announcement, as any program with the key can: python publish.py 'text'

The key and the address are those in SNORKY_API_KEY and SNORKY_BACKEND_URL or, without a key there,
what the running demo has left in its folder ``data``.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport

RUN_FILE = Path(__file__).resolve().parent / "data" / "run.json"


def main() -> int:
    parser = argparse.ArgumentParser(description="Publish an announcement.")
    parser.add_argument("text", help="what everybody is told")
    text = parser.parse_args().text
    settings = dict(os.environ)
    if "SNORKY_API_KEY" not in settings:
        try:
            settings = json.loads(RUN_FILE.read_text())
        except FileNotFoundError:
            print(f"The demo does not run: there is no {RUN_FILE}.", file=sys.stderr)
            return 1
    url = settings.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
    backend = SnorkyBackend(SnorkyHTTPTransport(url, settings["SNORKY_API_KEY"]))
    try:
        backend.call("announcements_backend", "publish", channel="all", message=text)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
