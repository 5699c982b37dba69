"""Runs the chat until Ctrl-C."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from one_program import main  # noqa: E402
from run_snorky_server import frontend, make_application  # noqa: E402

if __name__ == "__main__":
    sys.exit(main("Run the chat, until Ctrl-C.", frontend, make_application))
