# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The settings in the files of an image or video processor, looked at before an object is made of them.

transformers sets whatever a file holds as an attribute: a number in the place of a method, a text in the place of a
number. It is found out somewhere else, or never.
"""

import sys
from typing import Any

_SWITCHES = (
    *("do_resize", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad", "do_center_crop", "do_sample_frames"),
    *("crop_to_patches", "use_thumbnail", "pad2square", "share_tile_budget", "return_grid", "return_metadata"),
)
_COUNTS = ("min_patches", "max_patches", "max_image_pixels", "resample", "num_frames", "max_num_frames")
_NUMBERS = ("rescale_factor", "fps")
_NAMES = ("backend", "sampling", "normalize_type", "device")
_SIZES = ("size", "crop_size")


def check_settings(settings: dict[str, Any], kind: type) -> dict[str, Any]:
    """The settings of a file for a processor of a class.

    Raises:
        ValueError: a setting has a value of the wrong type, a number is not finite, or one has the name of a method or
            of another part of the class that is no setting.
    """
    for name, value in settings.items():
        if name.startswith("__") or name == "valid_kwargs" or callable(getattr(kind, name, None)):
            raise ValueError(f"The processor's files set `{name}`, which is no setting of {kind.__name__}.")
        if value is None:
            continue
        for names, fits, expected in _RULES:
            if name in names and not fits(value):
                raise ValueError(f"`{name}` in the processor's files must be {expected}, got {value!r:.80}.")
    return settings


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max  # NaN is not, and integers have any size


def _are_numbers(value: Any) -> bool:
    return _is_number(value) or (isinstance(value, (list, tuple)) and len(value) < 10 and all(map(_is_number, value)))


def _is_size(value: Any) -> bool:
    sides = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
    return all(side is None or _is_count(side) for side in sides)


_RULES = (
    (_SWITCHES, lambda value: isinstance(value, bool), "true or false"),
    (_COUNTS, _is_count, "a whole number"),
    (_NUMBERS, _is_number, "a finite number"),
    (_NAMES, lambda value: isinstance(value, str), "a name"),
    (_SIZES, _is_size, "whole numbers of pixels"),
    (("image_mean", "image_std"), _are_numbers, "a finite number, or one for each channel"),
)

__all__ = ["check_settings"]
