# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Serves the page."""

import socket
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI

from ..serving.hosts import Hosts
from .own_pages import OwnPages
from .page import CSS, theme

MOST_BYTES = "200mb"  # of a file


def build_app(page: gr.Blocks, hosts: Hosts) -> Any:
    """The ASGI application of a page: no analytics, no documentation of an API, no history of runs."""
    page.queue(max_size=64, api_open=False)
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path="",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MOST_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=CSS,
    )
    return OwnPages(app, hosts)


def serve(app: Any, listener: socket.socket) -> None:
    """Serve until Ctrl-C."""
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listener])


__all__ = ["build_app", "serve"]
