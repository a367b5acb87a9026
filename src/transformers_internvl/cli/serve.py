# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl serve`: models behind transformers' own OpenAI-compatible server."""

import argparse
import os
import sys
from typing import Any

from .errors import UserError, user_errors
from .listening import address, listen
from .loading import load_chat_model, load_processor, log_errors_only, place, visual_stride

_OTHER_FILES = 256  # open files beside connections: models, fetches, preparations


def run(arguments: argparse.Namespace) -> None:
    """Load the models, print the address, and serve until Ctrl-C."""
    log_errors_only()
    with user_errors("serving needs `pip install 'transformers_internvl[serve]'`"):
        import uvicorn

        from ..serving.app import Bounds, build_app
        from ..serving.connections import bounded
        from ..serving.hosts import Hosts
        from ..serving.media import Limits
    listener = listen(arguments.host, arguments.port)
    most = arguments.max_requests
    bounds = Bounds(requests=most, of_client=arguments.max_requests_per_client or -(-most // 2))
    limits = Limits(hosts=frozenset(arguments.allow_host))
    models, prepare = _load(arguments, limits)
    try:
        app = build_app(models, prepare, Hosts(arguments.host, arguments.allowed_host), limits, bounds)
        print(f"Serving {', '.join(models)} at {address(arguments.host, listener)}/v1", flush=True)
        http = bounded(_connections(most))
        config = uvicorn.Config(app, http=http, ws="none", log_level="warning", timeout_graceful_shutdown=5)
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        prepare.close()


def _connections(most_requests: int) -> int:
    """The maximum number of connections: the limit of open files less the files of everything else."""
    most = 4 * most_requests
    if sys.platform == "win32":
        return most
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        most = max(soft - _OTHER_FILES, 16)
    return most


def _load(arguments: argparse.Namespace, limits: Any) -> tuple[dict[str, Any], Any]:
    """The models by name, and the object that prepares their inputs."""
    from ..nano import nano_path
    from ..serving.app import Served
    from ..serving.preparing import preparer

    with user_errors("cannot run there"):
        device, dtype = place(arguments.device, arguments.dtype)
    stride = visual_stride(arguments)
    if stride > 1:
        raise UserError(f"cannot serve with --v2pe-stride {stride:g}: take 1 or less.")
    sources = {_name(source): source for source in arguments.model or []} or {"nano": str(nano_path())}
    if len(sources) < len(arguments.model or []):
        raise UserError(f"two models have the same name: {', '.join(arguments.model)}.")
    processors = {name: load_processor(source) for name, source in sources.items()}
    prepare = preparer(sources, processors, limits)
    options = {
        "max_batch": arguments.max_batch,
        "cache_bytes": arguments.batch_cache * 2**20,
        "v2pe_stride": stride,
    }
    models = {
        name: Served(load_chat_model(source, device, dtype), processors[name], **options)
        for name, source in sources.items()
    }
    if arguments.prefix_cache:
        for served in models.values():
            served.model.keep_prefixes(arguments.prefix_cache * 2**20)
    prepare.wait_until_ready()
    return models, prepare


def _name(source: str) -> str:
    return os.path.basename(os.path.abspath(source)) if os.path.isdir(source) else source
