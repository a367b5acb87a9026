# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Fair queues: clients take turns, however many requests each of them has."""

import asyncio
import ipaddress
from collections import OrderedDict, deque
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
    """

    def __init__(self, count: int):
        self.free = count
        self.waiting: OrderedDict[str, deque[asyncio.Future]] = OrderedDict()

    async def acquire(self, client: str) -> None:
        """Wait for a slot."""
        if self.free:
            self.free -= 1
            return
        turn: asyncio.Future = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it got the slot at the same moment
            elif client in self.waiting and turn in self.waiting[client]:
                self.waiting[client].remove(turn)
                if not self.waiting[client]:
                    del self.waiting[client]
            raise

    def release(self) -> None:
        """Give the slot to the next client, which then is the last in the queue."""
        while self.waiting:
            client, turns = self.waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self.waiting[client] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1


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
