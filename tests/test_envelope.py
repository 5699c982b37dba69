"""The envelope: encoded once, shared by all who receive it."""

import json

import pytest

from snorky.envelope import Envelope, text_frame
from snorky.protocols.websocket_frames import TEXT, encode_frame
from snorky.wire import encode


def test_an_envelope_is_the_dictionary_that_travels() -> None:
    envelope = Envelope("echo", [1])

    assert envelope == {"service": "echo", "message": [1]}
    assert json.loads(envelope.text) == {"service": "echo", "message": [1]}
    assert encode(envelope) == envelope.text


def test_an_envelope_is_encoded_once_however_many_receive_it() -> None:
    envelope = Envelope("echo", "größer")

    assert envelope.text is envelope.text
    assert text_frame(envelope) is text_frame(envelope)
    assert text_frame(envelope) == encode_frame(TEXT, envelope.text)


def test_an_envelope_whose_message_cannot_be_encoded_raises_at_each_use() -> None:
    envelope = Envelope("echo", object())

    for _ in range(2):
        with pytest.raises(TypeError):
            _ = envelope.frame


def test_any_value_makes_a_text_frame() -> None:
    assert text_frame([1, "ö"]) == encode_frame(TEXT, '[1,"ö"]'.encode())


def test_an_envelope_of_another_process_keeps_the_text_it_came_as() -> None:
    text = Envelope("echo", ["größer", {"a": None}]).text

    received = Envelope.received(text)

    assert received == {"service": "echo", "message": ["größer", {"a": None}]}
    assert received.text is text
