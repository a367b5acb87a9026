# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Pages of the site that are no files of docs/: README, benchmarks, CONTRIBUTING, CHANGELOG, and the API reference.

mkdocs calls the two functions (`hooks` in mkdocs.yml). The API pages list what the `__init__.pyi` of each package
exports; mkdocstrings fills in signatures and docstrings.
"""

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "transformers_internvl"
# Page of the site -> the file of the repository.
PAGES = {
    "index.md": "README.md",
    "benchmarks.md": "benchmarks/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
ASSETS = ("LICENSE", *(f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))))
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and the files that pages link to."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for asset in ASSETS:
        files.append(File.generated(config, asset, abs_src_path=str(ROOT / asset)))
    for stub in sorted((ROOT / "src" / PACKAGE).rglob("__init__.pyi")):
        parts = stub.parent.relative_to(ROOT / "src").parts
        if len(parts) <= 2:
            files.append(File.generated(config, f"api/{parts[-1]}.md", content=api_page(stub, ".".join(parts))))
    return files


def api_page(stub: Path, module: str) -> str:
    """The page of a package: each exported name under the module that defines it."""
    lines = [f"# {module}", ""]
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            source = ".".join(filter(None, [module, node.module]))
            lines += [f"::: {source}.{alias.name}\n" for alias in node.names if alias.name[0] != "_"]
    return "\n".join(lines)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links of the repository become links of the site; those to files that it lacks become their names."""
    uri = page.file.src_uri
    here = posixpath.dirname(PAGES.get(uri, f"docs/{uri}"))
    places = {source: name for name, source in PAGES.items()}

    def site_link(match: re.Match[str]) -> str:
        text, link, anchor = match.groups()
        target = posixpath.normpath(posixpath.join(here, link))
        name = places.get(target, target.removeprefix("docs/"))
        file = files.get_file_from_path(name)
        if file is not None and not file.inclusion.is_excluded():
            return f"[{text}]({posixpath.relpath(name, posixpath.dirname(uri) or '.')}{anchor or ''})"
        return text if (ROOT / target).exists() else match[0]  # source code is not on the site

    return _LINK.sub(site_link, markdown)
