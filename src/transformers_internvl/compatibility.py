# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The tested versions of other libraries, checked when the package is imported.

Releases rename arguments and change the arguments of hooks. Versions below the tested range can give wrong results
without an error, so they are refused. Newer versions, which pip does not install by itself, cause a warning. Names and
signatures that this package uses are compared in `tests/test_compatibility.py` and `tests/test_signatures.py`;
`python tests/versions.py --newest` tries the newest releases.
"""

import warnings
from importlib.metadata import PackageNotFoundError, version

from packaging.version import Version

# Library -> the lowest and the highest version that tests have run on; the same range is in pyproject.toml.
TESTED: dict[str, tuple[str, str]] = {
    "accelerate": ("1.10.1", "1.15.0"),
    "huggingface_hub": ("1.31.0", "2.4.0"),
    "peft": ("0.20.0", "0.21.2"),
    "torch": ("2.13.0", "2.15.0"),
    "transformers": ("5.24.0", "5.24.0"),
}


def check_versions() -> None:
    """Compare the installed versions with `TESTED`.

    Warns with a `UserWarning` about versions above their range.

    Raises:
        ImportError: versions below their range. Both name the versions and say what to install.
    """
    old, new = [], []
    for library, (lowest, highest) in TESTED.items():
        try:
            installed = Version(Version(version(library)).public)  # 2.13.0+cpu is 2.13.0
        except PackageNotFoundError:
            continue  # its own import fails with a better message
        run = f"{lowest} only" if lowest == highest else f"{lowest} to {highest}"
        if installed < Version(lowest):
            old.append(f"{library} {installed} is older than what it runs on ({run})")
        elif installed > Version(highest):
            new.append(f"{library} {installed} is newer than what it was tested with ({run})")
    for problems in filter(None, (old, new)):
        message = f"transformers_internvl: {', '.join(problems)}; {_way_out(problems)}."
        if problems is old:
            raise ImportError(message)
        warnings.warn(message, UserWarning, stacklevel=3)


def _way_out(problems: list[str]) -> str:
    ranges = {library: TESTED[library] for library in (problem.split()[0] for problem in problems)}
    asked = " ".join(f'"{library}>={lowest},<={highest}"' for library, (lowest, highest) in ranges.items())
    return f"pip install {asked}"


__all__ = ["TESTED", "check_versions"]
