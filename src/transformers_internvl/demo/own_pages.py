# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a browser may do with the page's server: talk to it by its own names, and load nothing from elsewhere."""

from typing import Any

from ..serving.hosts import Hosts
from ..serving.requests import RequestError

# What a page may load: what this server sends. Scripts of gradio are inline in part, and some are made at run time.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; form-action 'self'; "
    "base-uri 'self'; object-src 'none'"
)


class OwnPages:
    """ASGI middleware: refuses other names and pages of other servers, and sends `POLICY` with every answer."""

    def __init__(self, app: Any, hosts: Hosts):
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self.hosts.check(scope)
        except RequestError as error:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": error.status, "headers": headers})
            await send({"type": "http.response.body", "body": str(error).encode(errors="replace")})
            return

        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"content-security-policy", POLICY.encode())]}
            await send(message)

        await self.app(scope, receive, with_policy)


__all__ = ["POLICY", "OwnPages"]
