# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stands in for a module that the source distribution lacks: unusual values of fields that every config has."""

config_common_kwargs = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "architectures": ["BertModel"],
    "id2label": {0: "label"},
    "label2id": {"label": "0"},
    "problem_type": "regression",
}
