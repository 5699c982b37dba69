"""The reference of Python has every public name, and each of them says what it is."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.python_reference import ROOT, missing_names, says_something


def test_every_public_name_is_in_the_reference_and_has_a_docstring() -> None:
    command = [sys.executable, "-m", "tests.docs.python_reference"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("\n", "")


def test_a_name_that_is_on_no_page_is_noticed() -> None:
    public = {"snorky.client": ["Client", "Peer"]}
    faults = list(missing_names(public, {"snorky.client.Peer"}))
    assert faults == ["snorky.client.Client is on no page of docs/reference/python"]


def test_a_name_may_be_on_a_page_under_another_name() -> None:
    public = {"snorky.services.datasync.dealers": ["Dealer"]}
    assert list(missing_names(public, {"snorky.services.datasync.Dealer"})) == []


class Told:
    """Has ``size``; the rest is silent or not."""

    size = 3
    silent = 4

    def method(self) -> None:
        """Does nothing."""

    def silent_method(self) -> None: ...


Told.__module__ = "snorky.client"  # texts of bases elsewhere do not count: these are ours


def test_what_has_no_text_is_noticed() -> None:
    attributes = ["size", "silent", "method", "silent_method"]
    assert [says_something(Told, name) for name in attributes] == [True, False, True, False]
