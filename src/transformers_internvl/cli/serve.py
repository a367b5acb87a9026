# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl serve`: models behind transformers' own OpenAI-compatible server."""

import argparse
import os
import socket
from typing import Any

from .errors import UserError, blame_user
from .loading import add_place_arguments, load_chat_model, load_processor, place, positive, quiet_unless_watched


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    add(
        "--model",
        action="append",
        metavar="ID_OR_FOLDER",
        help="a checkpoint to serve, by its id or its folder's name; may be given several times (default: the "
        "embedded nano model, as `nano`)",
    )
    add("--host", default="127.0.0.1", help="the address to listen at (%(default)s: this machine only)")
    add("--port", type=_port, default=8000, help="the port; 0 takes a free one (%(default)s)")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="fetch pictures from this host, too, although its address is not public; may be given several times",
    )
    add("--max-requests", type=positive, default=256, metavar="N", help="most requests that may wait (%(default)s)")
    add_place_arguments(parser)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, got {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> None:
    """Load the models, say where they are, and serve until Ctrl-C."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    quiet_unless_watched()
    with blame_user("serving needs `pip install 'transformers_internvl[serve]'`"):
        import uvicorn

        from .serving.app import build_app
        from .serving.media import Limits
    with blame_user(f"cannot listen at {arguments.host}:{arguments.port}"):
        listener = socket.create_server((arguments.host, arguments.port), family=_family(arguments.host))
    models = _load(arguments)
    app = build_app(models, Limits(hosts=frozenset(arguments.allow_host)), arguments.max_requests)
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    address = f"http://{host}:{listener.getsockname()[1]}/v1"
    print(f"Serving {', '.join(models)} at {address}", flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listener])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _load(arguments: argparse.Namespace) -> dict[str, Any]:
    from ..nano import nano_path
    from .serving.app import Served

    with blame_user("cannot run there"):
        device, dtype = place(arguments.device, arguments.dtype)
    sources = {_name(source): source for source in arguments.model or []} or {"nano": str(nano_path())}
    if len(sources) < len(arguments.model or []):
        raise UserError(f"Two models have one name: {', '.join(arguments.model)}.")
    models = {}
    for name, source in sources.items():
        processor = load_processor(source)
        models[name] = Served(load_chat_model(source, device, dtype), processor)
    return models


def _name(source: str) -> str:
    return os.path.basename(os.path.abspath(source)) if os.path.isdir(source) else source
