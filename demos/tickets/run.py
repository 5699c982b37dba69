"""Runs the tickets, Django and Snorky side by side, until Ctrl-C."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from running import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(HERE, "Run the tickets, until Ctrl-C.", "TICKETS_DATA"))
