# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every workaround for a fault of another library says what it works around, in which version, and until when."""

import re
from importlib import import_module

import pytest
from packaging.version import Version

from transformers_internvl.compatibility import TESTED

ROW = re.compile(r"^(`.*`).* \((\w+) ([\d.]+), until .+\)$", re.MULTILINE)
SUPPORT = {"MASKS", "InternLM2RotaryEmbedding", "LongRotaryEmbedding"}  # parts of a workaround with a row


@pytest.mark.parametrize("name", ["modeling.pretrained.upstream", "processing.tokenizers.upstream"])
def test_workarounds_have_rows(name):
    module = import_module(f"transformers_internvl.{name}")
    rows = ROW.findall(module.__doc__)
    named = {word for names, _, _ in rows for word in re.findall(r"`(\w+)`", names)}
    assert named == set(module.__all__) - SUPPORT
    for _, library, version in rows:  # of a version that is no longer supported there is nothing to work around
        lowest, highest = (Version(end).release[:2] for end in TESTED[library])
        assert lowest <= Version(version).release[:2] <= highest, (library, version)
