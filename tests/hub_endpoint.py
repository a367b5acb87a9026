# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A small Hub on the loopback: what `huggingface_hub` asks for when models are loaded and pushed, and no more.

Repositories live in memory, a commit a snapshot of all files. The client reads `HF_ENDPOINT` when it is imported and
the tests run offline, so what it does is tried in processes of their own (`Hub.client`).
"""

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.forked import Parent

LFS_SUFFIXES = (".safetensors", ".model")
TOKEN = "hf_of_a_member"  # the only one that opens gated repositories, and that may write

Files = dict[str, bytes]


@dataclass
class Repository:
    """One model repository.

    Attributes:
        commits: hash -> all files of that commit.
        branches: branch -> hash.
        gated: whether reading needs the token.
    """

    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: Files, branch: str = "main") -> str:
        """Make `files` the newest commit of a branch."""
        digest = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[digest] = files
        self.branches[branch] = digest
        return digest

    def resolve(self, revision: str) -> str | None:
        """The hash of a branch or of a hash; None if there is no such revision."""
        return self.branches.get(revision, revision if revision in self.commits else None)

    def files(self, revision: str = "main") -> Files:
        """All files of a revision."""
        return self.commits[self.branches[revision]]


class Hub:
    """The server, to be used as a context.

    Args:
        home: the folder for the cache of the clients.

    Attributes:
        repositories: id -> repository.
        log: `(method, path, Range header or "")` of every request.
        break_downloads: path in a repository -> after how many bytes its next download breaks off.
    """

    def __init__(self, home: Path) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.log: list[tuple[str, str, str]] = []
        self.break_downloads: dict[str, int] = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        changes: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HF_")}
        changes |= {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }
        self._clients = Parent("torch", "transformers_internvl", "transformers.modeling_utils", changes=changes)

    def __enter__(self) -> "Hub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._clients.close()
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo_id: str, folders: Mapping[str, Path], branch: str = "main", **changes: bytes) -> Repository:
        """Commit folders into a repository, each below its name there (`""`: the root), and further files."""
        repository = self.repositories.setdefault(repo_id, Repository())
        files = {
            (Path(inside) / path.relative_to(folder)).as_posix(): path.read_bytes()
            for inside, folder in folders.items()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        repository.commit(files | changes, branch)
        return repository

    def client(self, code: str, *arguments: object, **environment: str) -> str:
        """Run code that talks to this Hub in a process of its own; what it prints. All share a cache."""
        return self._clients.run(code, *arguments, **environment).stdout


class _Handler(BaseHTTPRequestHandler):
    """The routes."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr; `Hub.log` has it all."""

    def _route(self) -> None:
        self.hub.log.append((self.command, self.path, self.headers.get("Range", "")))
        self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        for method, pattern, answer in _ROUTES:
            if (match := re.fullmatch(pattern, path)) and self.command in method.split():
                return answer(self, **{name: unquote(value or "") for name, value in match.groupdict().items()})
        return self._refuse(404, "", f"no route for {self.command} {self.path}")

    # Answers ---------------------------------------------------------------------------------------------------------

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), Content_Type="application/json")

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._send(status, b"", X_Error_Code=code, X_Error_Message=message)

    def _repository(self, repo: str) -> Repository | None:
        """The repository, if it is there and open to who asks. Otherwise the request has been answered."""
        repository = self.hub.repositories.get(repo)
        if repository is None:
            self._refuse(401, "RepoNotFound", "Repository not found")  # as the Hub hides private ones
        elif repository.gated and not self._is_member():
            self._refuse(403, "GatedRepo", f"Access to model {repo} is restricted.")
        else:
            return repository
        return None

    def _is_member(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _snapshot(self, repo: str, revision: str) -> tuple[str, Files] | None:
        if (repository := self._repository(repo)) is None:
            return None
        if (digest := repository.resolve(revision or "main")) is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return digest, repository.commits[digest]

    # Reading ---------------------------------------------------------------------------------------------------------

    def _info(self, repo: str, revision: str = "") -> None:
        if found := self._snapshot(repo, revision):
            digest, files = found
            gated = "manual" if self.hub.repositories[repo].gated else False
            siblings = [{"rfilename": name} for name in sorted(files)]
            base = {"_id": "0", "id": repo, "modelId": repo, "private": False, "gated": gated, "tags": []}
            self._json({**base, "sha": digest, "siblings": siblings})

    def _refs(self, repo: str) -> None:
        if repository := self._repository(repo):
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": digest}
                for name, digest in repository.branches.items()
            ]
            self._json({"branches": branches, "tags": [], "converts": []})

    def _tree(self, repo: str, revision: str, folder: str = "") -> None:
        if found := self._snapshot(repo, revision):
            inside = {name: data for name, data in found[1].items() if name.startswith(f"{folder}/" if folder else "")}
            if folder and not inside:
                return self._refuse(404, "EntryNotFound", f"{folder} does not exist on {revision}")
            recursive = "recursive=true" in self.path.lower()
            depth = len(folder) + 1 if folder else 0
            names = [name for name in inside if recursive or "/" not in name[depth:]]
            folders = {name[: name.index("/", depth)] for name in inside if "/" in name[depth:]}
            entries = [_entry(name, inside[name]) for name in sorted(names)]
            self._json(
                [*entries, *({"type": "directory", "path": name, "oid": "0", "size": 0} for name in sorted(folders))]
            )

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        if not (found := self._snapshot(repo, revision)):
            return
        digest, files = found
        if path not in files:
            return self._send(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=digest)
        data = files[path]
        headers = {"ETag": f'"{_etag(path, data)}"', "X_Repo_Commit": digest, "Accept_Ranges": "bytes"}
        start, status = 0, 200
        if ranged := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, status = int(ranged[1]), 206
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        limit = self.hub.break_downloads.pop(path, None) if self.command == "GET" else None
        if limit is not None:
            headers["Content_Length"] = str(len(data) - start)
            self.close_connection = True
            data = data[: start + limit]
        self._send(status, data[start:], **headers)

    # Writing ---------------------------------------------------------------------------------------------------------

    def _may_write(self) -> bool:
        if not self._is_member():
            self._refuse(401, "", "Invalid username or password.")
        return self._is_member()

    def _create(self) -> None:
        if not self._may_write():
            return
        asked = json.loads(self._body)
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if repo in self.hub.repositories:
            self._send(409, json.dumps({"url": f"{self.hub.url}/{repo}"}).encode(), Content_Type="application/json")
            return
        self.hub.repositories[repo] = Repository()
        self.hub.repositories[repo].commit({".gitattributes": b""})
        self._json({"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})

    def _branch(self, repo: str, branch: str) -> None:
        if self._may_write() and (repository := self._repository(repo)):
            if branch in repository.branches:
                return self._refuse(409, "", "Reference already exists")
            repository.branches[branch] = repository.branches["main"]
            self._json({})

    def _yaml(self) -> None:
        self._json({"errors": [], "warnings": []})

    def _who(self) -> None:
        if self._may_write():
            self._json({"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": {"role": "write"}}})

    def _preupload(self, repo: str, revision: str) -> None:
        if self._may_write() and self._snapshot(repo, revision):
            files = [
                {
                    "path": name,
                    "uploadMode": "lfs" if name.endswith(LFS_SUFFIXES) else "regular",
                    "shouldIgnore": False,
                }
                for name in (each["path"] for each in json.loads(self._body)["files"])
            ]
            self._json({"files": files})

    def _lfs_batch(self, repo: str) -> None:
        if self._may_write():
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.hub.url}/objects/{each['oid']}"}}}
                for each in json.loads(self._body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})

    def _put_object(self, oid: str) -> None:
        if hashlib.sha256(self._body).hexdigest() != oid:
            return self._refuse(400, "", "the content does not match its hash")
        self.hub.objects[oid] = self._body
        self._send(200, b"")

    def _commit(self, repo: str, revision: str) -> None:
        if not self._may_write() or not (found := self._snapshot(repo, revision)):
            return
        files = dict(found[1])
        for line in map(json.loads, self._body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        digest = self.hub.repositories[repo].commit(files, revision)
        self._json({"success": True, "commitOid": digest, "commitUrl": f"{self.hub.url}/{repo}/commit/{digest}"})


def _etag(path: str, data: bytes) -> str:
    """A file's git hash; of a large one the hash of its content."""
    if path.endswith(LFS_SUFFIXES):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(data), "oid": _etag(path, data)}
    if path.endswith(LFS_SUFFIXES):
        entry["lfs"] = {"oid": _etag(path, data), "size": len(data), "pointerSize": 134}
    return entry


_REPO, _REV = r"(?P<repo>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
_ROUTES = (
    ("GET", f"/api/models/{_REPO}(?:/revision/{_REV})?", _Handler._info),
    ("GET", f"/api/models/{_REPO}/refs", _Handler._refs),
    ("GET", f"/api/models/{_REPO}/tree/{_REV}(?:/(?P<folder>.+))?", _Handler._tree),
    ("GET HEAD", f"/{_REPO}/resolve/{_REV}/(?P<path>.+)", _Handler._resolve),
    ("POST", "/api/repos/create", _Handler._create),
    ("POST", f"/api/models/{_REPO}/branch/(?P<branch>[^/]+)", _Handler._branch),
    ("POST", "/api/validate-yaml", _Handler._yaml),
    ("GET", "/api/whoami-v2", _Handler._who),
    ("POST", f"/api/models/{_REPO}/preupload/{_REV}", _Handler._preupload),
    ("POST", f"/{_REPO}.git/info/lfs/objects/batch", _Handler._lfs_batch),
    ("PUT", "/objects/(?P<oid>[0-9a-f]{64})", _Handler._put_object),
    ("POST", f"/api/models/{_REPO}/commit/{_REV}", _Handler._commit),
)
