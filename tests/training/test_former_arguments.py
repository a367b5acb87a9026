# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Former names of arguments and values still work for one release, with a warning that says the new one."""

import pytest

from transformers_internvl.renamed_modules import former_value
from transformers_internvl.training.data.dataset import PackedDataset
from transformers_internvl.training.data.packing import Packer
from transformers_internvl.training.run.options import read_options


def test_cut_is_now_split():
    with pytest.warns(FutureWarning, match="`cut` is called `split` now"):
        assert Packer(4, 4, cut=True).split
    with pytest.warns(FutureWarning, match="`cut` is called `split` now"):
        assert PackedDataset(None, 4, 4, cut=True).limits["split"]  # type: ignore[arg-type]


def test_too_long_cut_is_now_truncate():
    with pytest.warns(FutureWarning, match="too_long='cut'` is 'truncate' now"):
        options = read_options("internvl2.5-8b-lora", {"model": "m", "data": "d", "too_long": "cut"})
    assert options.too_long == "truncate" == options.as_mapping()["too_long"]
    assert former_value("too_long", "raise", {"cut": "truncate"}) == "raise"
