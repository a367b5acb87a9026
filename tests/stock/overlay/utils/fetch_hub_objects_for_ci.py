# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stands in for a module that the source distribution lacks. The model suite opens no file of the Hub."""


def url_to_local_path(url: str, return_url_if_not_found: bool = True) -> str:
    return url
