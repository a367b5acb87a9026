# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Where the verbs that serve listen."""

import socket

from .errors import user_errors


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `UserError` where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with user_errors(f"cannot listen at {host}:{port}"):
        return socket.create_server((host, port), family=family)


def address(host: str, listener: socket.socket) -> str:
    """The URL of a listening socket."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"
