# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Fair queues: clients take turns, however many requests each of them has."""

import asyncio
import ipaddress
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable
from typing import Any, TypeVar

from .generation import Cancelled

T = TypeVar("T")


def client_name(scope: Any) -> str:
    """The name under which a request is counted: the IPv4 address, or the /64 network of an IPv6 address."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


class FairSlots:
    """A semaphore whose slots go to waiting clients in turn, not to requests in order of arrival.

    Used on the event loop only.

    Args:
        count: the number of slots.
        of_client: maximum number of slots that one client holds; None: all. With it, `release` needs the client.
    """

    def __init__(self, count: int, of_client: int | None = None):
        self.free, self.of_client = count, of_client
        self.held: Counter[str] = Counter()
        self.waiting: OrderedDict[str, deque[asyncio.Future]] = OrderedDict()

    async def acquire(self, client: str) -> None:
        """Wait for a slot."""
        if self.free and self._may(client):
            self._take(client)
            return
        turn: asyncio.Future = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(client)  # it got the slot at the same moment
            elif client in self.waiting and turn in self.waiting[client]:
                self.waiting[client].remove(turn)
                if not self.waiting[client]:
                    del self.waiting[client]
            raise

    def release(self, client: str = "") -> None:
        """Give the slot of a client to the next one, which then is the last in the queue."""
        self.free += 1
        if self.of_client is not None:
            self.held[client] -= 1
            self.held = +self.held  # without those that hold none
        while following := next(filter(self._may, self.waiting), None):
            turns = self.waiting.pop(following)
            turn = turns.popleft()
            if turns:
                self.waiting[following] = turns
            if not turn.done():
                self._take(following)
                turn.set_result(None)
                return

    def _may(self, client: str) -> bool:
        return self.of_client is None or self.held[client] < self.of_client

    def _take(self, client: str) -> None:
        self.free -= 1
        if self.of_client is not None:
            self.held[client] += 1


async def unless_left(awaited: Awaitable[T], gone: asyncio.Event) -> T:
    """The result of `awaited`; if `gone` is set before, cancel it and raise `Cancelled`."""
    task = asyncio.ensure_future(awaited)
    leaving = asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Cancelled
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))  # so that it can release its slots


__all__ = ["FairSlots", "client_name", "unless_left"]
