"""Writers of one process take turns, and readers wait for them; nobody for long."""

import os
import threading

import pytest

from snorky.backend.turns import Turn
from tests.patience import patient


def test_a_reader_waits_for_who_writes():
    turn, passed = Turn(), threading.Event()
    with turn.taken() as got:
        assert got
        reader = threading.Thread(target=lambda: turn.passed() and passed.set())
        reader.start()
        assert not passed.wait(0.05)
    assert passed.wait(patient(10))
    reader.join()


def test_nobody_waits_for_longer_than_the_patience():
    turn, done = Turn(patience=0.05), threading.Event()
    results: list[bool] = []

    def read() -> None:
        results.append(turn.passed())
        with turn.taken() as got:
            results.append(got)
        done.set()

    with turn.taken():
        threading.Thread(target=read).start()
        assert done.wait(patient(10))
    assert results == [False, False]
    assert turn.passed()


def test_who_has_the_turn_may_take_it_again():
    turn = Turn(patience=0.05)
    with turn.taken(), turn.taken() as got:
        assert got


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_does_not_inherit_the_turn_of_its_parent_s_threads():
    turn, taken, release = Turn(patience=0.5), threading.Event(), threading.Event()

    def write() -> None:
        with turn.taken():
            taken.set()
            release.wait(patient(10))

    writer = threading.Thread(target=write)
    writer.start()
    assert taken.wait(patient(10))
    child = os.fork()
    if child == 0:
        os._exit(0 if turn.passed() else 1)
    _, status = os.waitpid(child, 0)
    release.set()
    writer.join()
    assert status == 0
