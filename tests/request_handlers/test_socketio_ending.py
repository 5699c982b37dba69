"""A program that Ctrl-C ends while something is under way ends in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from sys import executable
from typing import Any

from snorky.request_handlers.socketio import ending

# Most programs would survive it by chance: so the module alone, and nothing else of Snorky.
INTERRUPTED = """
import asyncio
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("ending", "FILE")
ending = module_from_spec(spec)
spec.loader.exec_module(ending)
queue = asyncio.Queue()

async def take():
    await queue.get()

def press():
    queue.put_nowait("wakes a task, which does not run any more")
    raise KeyboardInterrupt

async def work():
    ending.keep_tasks_at_exit()
    tasks = [asyncio.create_task(take()) for _ in range(2)]
    asyncio.get_running_loop().call_later(0.1, press)
    await asyncio.sleep(100)

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
working = loop.create_task(work())
try:
    loop.run_forever()
except KeyboardInterrupt:
    pass
print("Bye")
"""


def test_tasks_that_are_left_do_not_break_the_end(
    run_program: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "program.py"
    file.write_text(INTERRUPTED.replace("FILE", str(ending.__file__)))
    program = run_program([executable, str(file)])
    assert program.end() == 0
    assert program.lines == ["Bye"]
