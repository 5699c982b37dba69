"""``python -m snorky`` is the command ``snorky``."""

from snorky.cli import main

main(prog_name="snorky")
