# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Connections: their maximum number, and deadlines for the headers of requests.

uvicorn waits without a limit for the first line of a request and for the end of its headers. Here the limit is
`HEADER_SECONDS`. If there are too many connections, the oldest ones without a whole request are closed, so that idle
connections cannot keep other clients out.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
SEND_SECONDS = 60.0
"""Maximum time for a client to receive a part of an answer."""


class BoundedProtocol(H11Protocol):
    """A connection of uvicorn's HTTP/1.1 server, with deadlines for headers. Subclasses set `most`."""

    most = 1024
    """Maximum number of connections."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request, and close another connection if there are too many."""
        self.deadline: asyncio.TimerHandle | None = None
        self.sending: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self.since = self.loop.time()
        self._expect()
        if len(self.connections) > self.most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Receive data. Incomplete headers get a deadline, too."""
        super().data_received(data)
        if self._asked():
            self._expect_no_more()
        elif self.deadline is None:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines."""
        self._expect_no_more()
        self._sent()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read: begin its deadline."""
        super().pause_writing()
        self.sending = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read: cancel its deadline."""
        super().resume_writing()
        self._sent()

    def _sent(self) -> None:
        if self.sending is not None:
            self.sending.cancel()
            self.sending = None

    def _asked(self) -> bool:
        """Whether the headers of an unanswered request have been received."""
        return self.cycle is not None and not self.cycle.response_complete

    def _complete(self) -> bool:
        """Whether a whole request waits for its answer: such a connection is not closed to make room."""
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
        """Close a connection without a whole request: the oldest one of the client that has most of these."""
        others: set[Any] = self.connections
        idle = [other for other in others if other is not self and not other._complete()]
        if not idle:
            self.transport.abort()
            return
        of_client: dict[str, int] = {}
        for other in idle:
            of_client[_address(other)] = of_client.get(_address(other), 0) + 1
        victim = max(idle, key=lambda other: (of_client[_address(other)], -other.since))
        victim.transport.abort()
        others.discard(victim)


def _address(connection: Any) -> str:
    return (connection.client or ("",))[0]


def bounded(connections: int) -> type[BoundedProtocol]:
    """The protocol for uvicorn's `http` with at most so many connections."""
    return type("Bounded", (BoundedProtocol,), {"most": connections})
