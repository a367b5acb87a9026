# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl demo`: a local web page to ask a model, and to see what it gets and what it looks at."""

import argparse
import os
import tempfile
from pathlib import Path

from .errors import user_errors
from .listening import address, listen
from .loading import load_chat_model, load_processor, log_errors_only, model_name, place, visual_stride


def run(arguments: argparse.Namespace) -> None:
    """Load the model, print the address, and serve the page until Ctrl-C. Uploaded files are removed at the end."""
    log_errors_only()
    with tempfile.TemporaryDirectory(prefix="internvl-demo-") as scratch:
        # gradio reads these when it is imported.
        os.environ["GRADIO_TEMP_DIR"] = scratch
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        with user_errors("the demo needs `pip install 'transformers_internvl[demo]'`"):
            from ..demo.page import build_page
            from ..demo.server import build_app, serve
        from ..demo.answering import Answerer
        from ..serving.hosts import Hosts

        listener = listen(arguments.host, arguments.port)
        name = model_name(arguments)
        processor = load_processor(name)
        with user_errors(f"cannot load the model {name}"):
            device, dtype = place(arguments.device, arguments.dtype)
        stride = visual_stride(arguments)
        model = load_chat_model(name, device, dtype)
        model.keep_prefixes()
        answerer = Answerer(model, processor, stride)
        title = "embedded nano model" if arguments.model is None else arguments.model
        try:
            app = build_app(build_page(answerer, title, Path(scratch)), Hosts(arguments.host, arguments.allowed_host))
            print(f"Demo of the {title} at {address(arguments.host, listener)}", flush=True)
            serve(app, listener)
        finally:
            answerer.close()
