# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl demo` where it cannot begin. The page is used by `python -m tests.demo.browser`."""

import sys

from transformers_internvl.cli import main


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["demo", "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("internvl demo: the demo needs `pip install 'transformers_internvl[demo]'`")
    assert error.count("\n") == 1
