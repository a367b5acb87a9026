# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Connections: how many there may be, and how long a client may take to say what it wants.

uvicorn waits for the first line of a request, and for the end of its headers, without an end. Here they have
`HEADER_SECONDS`, and where connections are too many, the ones that have waited longest for their clients make room: a
client that asks gets in, however many others only hold on.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
SEND_SECONDS = 60.0
"""Longest time for a client to take a part of an answer."""


class BoundedProtocol(H11Protocol):
    """A connection of uvicorn's HTTP/1.1 server, with deadlines for headers. Subclasses say how many there may be."""

    most = 1024
    """Most connections at a time."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request; make room for it first."""
        self.deadline: asyncio.TimerHandle | None = None
        self.sending: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self.since = self.loop.time()
        self._expect()
        if len(self.connections) > self.most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take what has come; the rest of a request's headers has its time, too."""
        super().data_received(data)
        if self._asked():
            self._expect_no_more()
        elif self.deadline is None:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for."""
        self._expect_no_more()
        self._sent()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read: it has its time, too."""
        super().pause_writing()
        self.sending = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._sent()

    def _sent(self) -> None:
        if self.sending is not None:
            self.sending.cancel()
            self.sending = None

    def _asked(self) -> bool:
        """Whether the headers of a request are here, which is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _complete(self) -> bool:
        """Whether a whole request is here and waits for its answer: what may not be closed to make room."""
        return self._asked() and not self.cycle.more_body

    def _expect(self) -> None:
        self.deadline = self.loop.call_later(HEADER_SECONDS, self._close)

    def _expect_no_more(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def _close(self) -> None:
        self._expect_no_more()
        if self.conn.their_state is not h11.ERROR and not self._asked():
            self.transport.abort()

    def _make_room(self) -> None:
        """Close the oldest connection without a whole request, of the client that has most of these."""
        others: set[Any] = self.connections
        idle = [other for other in others if other is not self and not other._complete()]
        if not idle:
            self.transport.abort()
            return
        of_client: dict[str, int] = {}
        for other in idle:
            name = (other.client or ("",))[0]
            of_client[name] = of_client.get(name, 0) + 1
        victim = max(idle, key=lambda other: (of_client[(other.client or ("",))[0]], -other.since))
        victim.transport.abort()
        others.discard(victim)


def bounded(connections: int) -> type[BoundedProtocol]:
    """The protocol for uvicorn's `http` with at most so many connections."""
    return type("Bounded", (BoundedProtocol,), {"most": connections})
