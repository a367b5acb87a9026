# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Fetching untrusted URLs: bounded bytes, one deadline for all of it, public addresses only.

Every step of a redirection is looked at again, and the address that was looked at is the one connected to (see
`addresses`). No proxy is asked, which would resolve names by itself.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Collection
from threading import Timer
from urllib.parse import urljoin, urlsplit

from .addresses import NotPublic, connect

_REDIRECTIONS = (301, 302, 303, 307, 308)
_MOST_REDIRECTIONS = 5
_CHUNK = 1 << 16


class FetchError(ValueError):
    """A URL that cannot be fetched within the bounds. `str(error)` is a sentence with the URL and the reason."""


class TooLarge(FetchError):
    """What is behind it has too many bytes."""


def is_url(source: str) -> bool:
    """Whether a source is to be fetched."""
    return source.startswith(("http://", "https://"))


class Fetching:
    """Fetches URLs one after another, in a thread. Another thread may `abort` it.

    Args:
        seconds: longest time for all of them, redirections included, from now on.
        hosts: that are fetched from whatever their address is, such as `localhost`.
    """

    def __init__(self, seconds: float, hosts: Collection[str] = ()):
        self.seconds, self.hosts = seconds, hosts
        self.end = time.monotonic() + seconds
        self.aborted = False
        self._connection: _Connection | None = None

    def abort(self) -> None:
        """Stop what is being fetched, and fetch nothing else."""
        self.aborted = True
        if self._connection is not None:
            self._connection.abort()

    def get(self, url: str, most: int) -> bytes:
        """What is behind a URL.

        Args:
            url: `http(s)://...`, as of [`is_url`].
            most: bytes of it.

        Raises:
            FetchError: it cannot be fetched, or takes too long; [`TooLarge`] for more than `most` bytes.
            NotPublic: it is, or leads to, a host that is not public.
        """
        watch = Timer(max(self.end - time.monotonic(), 0.01), self.abort)  # timeouts alone let a server drip bytes
        watch.daemon = True
        watch.start()
        try:
            return self._follow(url, most)
        finally:
            watch.cancel()

    def _follow(self, url: str, most: int) -> bytes:
        for _ in range(_MOST_REDIRECTIONS):
            try:
                answer = self._get(url, most)
            except (FetchError, NotPublic):
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:
                if self.aborted or isinstance(error, TimeoutError):
                    raise self._slow(url) from error
                raise FetchError(f"Cannot fetch {url[:200]}: {type(error).__name__}.") from error
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
            if not is_url(url):
                break
        raise FetchError(f"Cannot fetch {url[:200]}: redirected too often, or to no http(s) URL.")

    def _get(self, url: str, most: int) -> bytes | str:
        """The body behind a URL, or where it is redirected to."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.username is not None or parts.password is not None:
            raise FetchError(f"A URL needs a host and no user name, got {url[:200]}.")
        if self.aborted:
            raise self._slow(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        connection = _Connection(parts.hostname, port, parts.scheme == "https", self.end, self.hosts)
        self._connection = connection
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"User-Agent": "transformers_internvl", "Accept": "image/*, video/*"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status in _REDIRECTIONS:
                return response.headers.get("Location", "")
            if response.status != 200:
                raise FetchError(f"Cannot fetch {url[:200]}: status {response.status}.")
            data = bytearray()
            while chunk := response.read(_CHUNK):
                data += chunk
                if len(data) > most:
                    raise TooLarge(f"What is at {url[:200]} has more than {most} bytes.")
            if self.aborted:
                raise self._slow(url)
            return bytes(data)
        finally:
            connection.close()

    def _slow(self, url: str) -> FetchError:
        return FetchError(f"{url[:200]} took longer than {self.seconds:g} s.")


class _Connection(http.client.HTTPConnection):
    """Connects to an address that was looked at, and can be stopped by another thread."""

    def __init__(self, host: str, port: int, encrypted: bool, end: float, hosts: Collection[str]):
        super().__init__(host, port)
        self.default_port = 443 if encrypted else 80  # what the Host header leaves out
        self.encrypted, self.end, self.hosts = encrypted, end, hosts
        self.aborted = False
        self.wire: socket.socket | None = None  # `sock` is None as soon as the response has it

    def connect(self) -> None:
        self.sock = self.wire = connect(self.host, self.port, self.end, self.hosts)
        if self.encrypted:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
        self.wire = self.sock
        if self.aborted:
            self.abort()

    def abort(self) -> None:
        self.aborted = True
        if self.wire is not None:
            try:
                self.wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # closed already


__all__ = ["FetchError", "Fetching", "TooLarge", "is_url"]
