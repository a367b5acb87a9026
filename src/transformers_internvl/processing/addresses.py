# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which addresses are public, and connecting to the very address that was looked at.

An untrusted request can name any URL, but this machine fetches it, and it may reach what the sender cannot. Names
are resolved once: a second question could get another answer (DNS rebinding).
"""

import ipaddress
import socket
import time
from collections.abc import Collection

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Within what `ipaddress` takes for global, but reserved, or answered by the machines around this one.
_NOT_PUBLIC_V4: tuple[_Network, ...] = (
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments; metadata of Oracle's cloud at .192
    ipaddress.ip_network("192.88.99.0/24"),  # relays of 6to4
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's own services
)
# Public IPv6 addresses are these, without the ones that lead to an IPv4 address or are for documents and tests.
# Outside are loopback, IPv4-compatible and -mapped, NAT64, link-, site- and unique local, and multicast addresses.
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC_V6: tuple[_Network, ...] = (
    ipaddress.ip_network("2001::/23"),  # Teredo, benchmarks, protocol assignments
    ipaddress.ip_network("2001:db8::/32"),
    ipaddress.ip_network("2002::/16"),  # 6to4
    ipaddress.ip_network("3fff::/20"),
)


class NotPublic(ValueError):
    """A host whose addresses are not all public.

    Attributes:
        host: its name.
    """

    def __init__(self, host: str):
        super().__init__(f"{host[:200]} has no public address")
        self.host = host[:200]


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is one of a machine in the internet. False for what is no address."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    if isinstance(known, ipaddress.IPv6Address):
        return known in _PUBLIC_V6 and known.is_global and not any(known in network for network in _NOT_PUBLIC_V6)
    return known.is_global and not known.is_multicast and not any(known in network for network in _NOT_PUBLIC_V4)


def connect(host: str, port: int, end: float, trusted: Collection[str]) -> socket.socket:
    """A connection to `host`, made before `end` (of `time.monotonic`) to an address that was looked at.

    Raises:
        NotPublic: one of its addresses is not public, and `trusted` does not name the host.
        OSError: there is no answer.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if host not in trusted and not all(is_public(str(address[0])) for *_, address in found):
        raise NotPublic(host)
    reason: OSError = TimeoutError("no time is left")
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(max(end - time.monotonic(), 0.01))
        try:
            connection.connect(address)  # numbers: nothing is resolved again
            return connection
        except OSError as error:
            connection.close()
            reason = error
    raise reason


__all__ = ["NotPublic", "connect", "is_public"]
