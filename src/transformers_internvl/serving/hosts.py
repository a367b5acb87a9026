# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which host names a server answers to.

The name of a web page can be pointed at this machine, so that the page can talk to servers here (DNS rebinding). The
browser then sends the page's name as `Host`, so unknown names are refused. Requests from pages of other servers are
refused by their `Origin`.
"""

import ipaddress
import socket
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from .requests import RequestError


class Hosts:
    """The names of a server.

    Args:
        listening: the address or name that it listens at. At a loopback address, only `localhost` and loopback
            addresses are accepted; else every address and this machine's name.
        more: further names; `*` stands for every name.
    """

    def __init__(self, listening: str, more: Collection[str] = ()):
        self.any = "*" in more
        self.loopback_only = _is_loopback(listening)
        self.names = {"localhost", *(name.lower().rstrip(".") for name in more)}
        if not self.loopback_only:
            self.names |= {listening.lower(), socket.gethostname().lower()}

    def check(self, scope: Any) -> None:
        """Raise `RequestError` (403) if a request is for another name, or from a page of another server."""
        headers = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name in (b"host", b"origin")]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._is_ours(_name(f"//{hosts[0]}")):
            name = hosts[0] if hosts else ""
            raise RequestError(
                f"This server does not answer to {name!r:.200}: start it with --allowed-host NAME to allow this name.",
                status=403,
            )
        for origin in (value for name, value in headers if name == b"origin"):
            if not self._is_ours(_name(origin)):
                raise RequestError(
                    f"Pages of {origin!r:.200} are refused: start the server with --allowed-host NAME to allow them.",
                    status=403,
                )

    def _is_ours(self, name: str | None) -> bool:
        if name is None:
            return False
        if self.any or name.rstrip(".") in self.names:
            return True
        return _is_loopback(name) if self.loopback_only else _is_address(name)


def _name(url: str) -> str | None:
    """The host of a URL in lower case, without brackets and port."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    if not _is_address(name):
        return name.lower() == "localhost"
    return ipaddress.ip_address(name.partition("%")[0]).is_loopback
