"""The help desk of the how-tos: a Django REST project as people have it, made live by a patch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ROOT, Windows
from tests.patience import patient

EXAMPLE = ROOT / "docs" / "examples" / "helpdesk"
SHELL = """
import sys, django
django.setup()
for line in sys.stdin:
    exec(eval(line))
    print("done", flush=True)
"""
PEOPLE = """
from django.core.management import call_command
call_command("makemigrations", "helpdesk", verbosity=0)
call_command("migrate", verbosity=0)
from django.contrib.auth.models import Group, User
from helpdesk.models import Ticket
red, blue = [Group.objects.create(name=name) for name in ("red", "blue")]
for name, team in (("ann", red), ("bob", blue)):
    User.objects.create_user(name, password="secret").groups.add(team)
ann = User.objects.get(username="ann")
for team, title in ((red, "red 1"), (red, "red 2"), (red, "red 3"), (red, "red 4"), (blue, "blue")):
    Ticket.objects.create(team=team, title=title)
"""


class Helpdesk:
    """The project and Snorky, each in a process of its own."""

    def __init__(self, folder: Path, serve: Callable[..., Any], run: Callable[..., Any]) -> None:
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for patch in ("live.diff", "revoke.diff"):
            subprocess.run(["git", "apply", patch], cwd=folder, check=True, timeout=patient(30))
        snorky = serve(None)
        for file in ("helpdesk/settings.py", "helpdesk/templates/tickets.html"):
            text = (folder / file).read_text().replace("5002", str(snorky.backend_port))
            text = text.replace("localhost:5001", f"127.0.0.1:{snorky.port}")
            (folder / file).write_text(text)
        env = {"SNORKY_API_KEY": "swordfish", "DJANGO_SETTINGS_MODULE": "helpdesk.settings"}
        self._shell = subprocess.Popen(
            [sys.executable, "-c", SHELL],
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.shell(PEOPLE)
        command = [sys.executable, "manage.py", "runserver", "--noreload", "127.0.0.1:0"]
        django = run(command, cwd=folder, **env)
        self.address = django.wait_for(r"server at (http://127\.0\.0\.1:\d+/)")[1]

    def shell(self, code: str) -> None:
        """Do what a person would in Django's shell."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        print(repr(code), file=self._shell.stdin, flush=True)
        assert self._shell.stdout.readline() == "done\n"

    def close(self) -> None:
        self._shell.communicate(timeout=patient(20))


@pytest.fixture
def helpdesk(
    tmp_path: Path, serve: Callable[..., Any], run_program: Callable[..., Any]
) -> Iterator[Helpdesk]:
    helpdesk = Helpdesk(tmp_path / "helpdesk", serve, run_program)
    yield helpdesk
    helpdesk.close()


@pytest.fixture
def windows(browser: Browser, helpdesk: Helpdesk) -> Iterator[Windows]:
    windows = Windows(browser, helpdesk.address)
    windows.expect("404 (Not Found)")  # no icon, and pages that are gone
    yield windows
    windows.close()


def log_in(windows: Windows, name: str) -> Page:
    page = windows.open()
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("secret")
    page.keyboard.press("Enter")
    return page


def shows(page: Page, *titles: str) -> None:
    expect(page.get_by_role("listitem")).to_have_text(list(titles))


def test_pages_of_a_teams_open_tickets_are_live(helpdesk: Helpdesk, windows: Windows) -> None:
    ann, bob = log_in(windows, "ann"), log_in(windows, "bob")
    shows(ann, "red 1", "red 2", "red 3")
    shows(bob, "blue")
    ann.get_by_role("button", name="Next").click()
    shows(ann, "red 4")

    helpdesk.shell("Ticket.objects.create(team=red, title='red 5')")
    shows(ann, "red 4", "red 5")
    ann.get_by_role("button", name="Next").click()  # there is no third page
    shows(ann, "red 4", "red 5")
    helpdesk.shell("[each.delete() for each in Ticket.objects.filter(title__gte='red 4')]")
    shows(ann, "red 1", "red 2", "red 3")  # page two is gone
    helpdesk.shell("t = Ticket.objects.get(title='red 2'); t.is_open = False; t.save()")
    shows(ann, "red 1", "red 3")
    shows(bob, "blue")

    helpdesk.shell("ann.groups.remove(red)")  # another how-to: who leaves a team
    shows(ann)
    helpdesk.shell("red.user_set.add(ann)")
    shows(ann, "red 1", "red 3")


def test_it_takes_the_project_twelve_lines() -> None:
    patch = (EXAMPLE / "live.diff").read_text()
    added = [line for line in re.findall(r"(?m)^\+(?!\+\+ )(.*)$", patch) if line.strip()]
    assert len(added) == 12
