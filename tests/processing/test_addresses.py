# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Connecting to hosts with several addresses: each is tried within the time that is left, and none is left open."""

import socket
import time

import pytest

from transformers_internvl.processing import addresses
from transformers_internvl.processing.addresses import NotPublic, connect


class Connection:
    """In place of a socket: hosts whose name begins with "dead" refuse."""

    made: list["Connection"] = []

    def __init__(self, *kind):
        self.kind, self.closed = kind, False
        self.made.append(self)

    def settimeout(self, seconds):
        self.seconds = seconds

    def connect(self, address):
        self.address = address
        if str(address[0]).startswith("dead"):
            raise ConnectionRefusedError(address[0])

    def close(self):
        self.closed = True


@pytest.fixture
def made(monkeypatch):
    """The connections that were begun, in order. A host's name lists its addresses."""
    Connection.made = []

    def resolve(host, port, type):
        return [(number, type, 6, "", (name, port)) for number, name in enumerate(host.split("+"))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "socket", Connection)
    monkeypatch.setattr(addresses, "is_public", lambda address: not address.endswith("private"))
    return Connection.made


def test_the_next_address_is_tried_and_the_first_that_answers_is_taken(made):
    found = connect("dead1+live2+live3", 80, time.monotonic() + 50, ())
    assert found is made[1] and len(made) == 2
    assert [(one.address, one.closed) for one in made] == [(("dead1", 80), True), (("live2", 80), False)]
    assert [one.kind for one in made] == [(0, socket.SOCK_STREAM, 6), (1, socket.SOCK_STREAM, 6)]
    assert all(40 < one.seconds <= 50 for one in made)


def test_the_last_reason_is_raised_where_none_answers(made):
    with pytest.raises(ConnectionRefusedError, match="dead2"):
        connect("dead1+dead2", 80, time.monotonic() + 50, ())
    assert [one.closed for one in made] == [True, True]
    made.clear()
    with pytest.raises(ConnectionRefusedError):
        connect("dead", 80, time.monotonic() - 50, ())
    assert made[0].seconds == 0.01  # zero would not wait at all, and a negative number is an error


def test_no_address_is_tried_if_one_is_private_unless_the_whole_name_is_trusted(made):
    for host in ("live+private", "private+live", "private"):
        with pytest.raises(NotPublic, match="has no public address") as caught:
            connect(host, 80, time.monotonic() + 50, ("live", "other"))
        assert caught.value.host == host and made == []
        assert connect(host, 80, time.monotonic() + 50, ("other", host)) is made.pop()
        made.clear()
    with pytest.raises(NotPublic) as caught:
        connect("x" * 300 + "+private", 80, time.monotonic() + 50, ())
    assert caught.value.host == "x" * 200
