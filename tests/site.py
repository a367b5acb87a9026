# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Builds the documentation site strictly: `python -m tests.site [--out FOLDER]`. Needs the extra `docs`.

A link that leads nowhere, a page that is missing in the navigation, and an exported name without a docstring to show
are errors.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Pages that must be there -> what must be in them.
EXPECTED = {
    "index.html": "images/example.png",
    "inference.html": "decode_grounding",
    "api/transformers_internvl.html": "InternVLProcessor",
    "api/training.html": "lora_config",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the site (default: a temporary one)")
    out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="site-"))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    code = subprocess.run(command, cwd=ROOT, env=environment).returncode
    if code != 0:
        return code
    for page, text in EXPECTED.items():
        if not (out / page).is_file() or text not in (out / page).read_text(encoding="utf-8"):
            print(f"{page} lacks {text!r}")
            return 1
    print(f"{len(list(out.rglob('*.html')))} pages in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
