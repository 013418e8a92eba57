"""A small hub on this machine: as much of the Hugging Face Hub's HTTP as its library asks for to send and to fetch.

Written from the library's requests (huggingface_hub 2.4) and the hub's documentation; a repository is a list of commits, each
a mapping of names to bytes. ``lies`` gives a file another size in the list of names than it has.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_ofthetests"
LARGE = (".safetensors", ".onnx", ".parquet")


def sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    kind: str
    name: str
    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    lies: dict[str, int] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        """Make ``files`` all that there is; the hash of the commit."""
        said = json.dumps([len(self.commits), self.name, {name: sha1(content) for name, content in files.items()}])
        self.commits.append((hashlib.sha1(said.encode()).hexdigest(), dict(files)))
        return self.commits[-1][0]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((each for each in self.commits if each[0] == revision), None)


class Hub:
    """The server; ``repositories`` by (kind, name), ``asked`` what was requested."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def make(self, name: str, files: dict[str, bytes], kind: str = "model", *, private: bool = False) -> str:
        """A repository with one commit of ``files``, or one more commit to it; its hash."""
        repository = self.repositories.setdefault((kind, name), Repository(kind, name, private))
        return repository.commit({".gitattributes": b"*.onnx filter=lfs\n", **files})

    def files(self, name: str, kind: str = "model") -> dict[str, bytes]:
        return self.repositories[kind, name].commits[-1][1]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append(f"{self.command} {path}")
        for pattern, method in ROUTES:
            if found := re.fullmatch(pattern, path):
                method(self, **found.groupdict(), **({"query": parse_qs(url.query)} if method is _Handler.tree else {}))
                return
        self._send(404, {"error": f"no such address {path}"})

    def _send(self, status: int, body: Any, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repository(self, kind: str, name: str) -> Repository | None:
        """The repository that may be seen; else the answer is given already, the same for private and absent."""
        found = self.hub.repositories.get((kind, name))
        if found is None or (found.private and not self._known()):
            self._send(404 if self._known() else 401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return None
        return found

    def _commit_of(self, found: Repository, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = found.at(revision)
        if commit is None:
            self._send(404, {"error": f"Invalid rev id: {revision}"}, X_Error_Code="RevisionNotFound")
        return commit

    def create(self) -> None:
        if not self._known():
            self._send(401, {"error": "Invalid username or password."})
            return
        asked = json.loads(self.body)
        name, kind = f"{asked['organization']}/{asked['name']}", asked.get("type") or "model"
        there = self.hub.repositories.get((kind, name))
        if there is None:
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.hub.make(name, {}, kind, private=private)
        url = f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        self._send(
            409 if there else 200, {"url": url, "name": name} | ({"error": "You already created it"} if there else {})
        )

    def validate(self) -> None:
        """As the hub: metadata must be YAML, and a licence one of its list."""
        card = json.loads(self.body)["content"]
        found = yaml.safe_load(card.split("---\n")[1])
        wrong = found.get("license", "other") not in ("other", "apache-2.0", "mit", "cc-by-4.0")
        errors = [{"message": '"license" must be one of [apache-2.0, mit, ...]'}] if wrong else []
        self._send(400 if wrong else 200, {"errors": errors, "warnings": []})

    def about(self, kind: str, name: str, revision: str | None = None) -> None:
        found = self._repository(kind, name)
        commit = found and self._commit_of(found, revision or "main")
        if found and commit:
            siblings = [{"rfilename": each} for each in commit[1]]
            self._send(200, {"id": name, "sha": commit[0], "private": found.private, "siblings": siblings, "tags": []})

    def tree(self, kind: str, name: str, revision: str, query: dict[str, list[str]]) -> None:
        found = self._repository(kind, name)
        commit = found and self._commit_of(found, revision)
        if not found or not commit:
            return
        listed: list[dict[str, Any]] = []
        for path, content in sorted(commit[1].items()):
            size = found.lies.get(path, len(content))
            entry = {"type": "file", "path": path, "size": size, "oid": sha1(content)}
            if path.endswith(LARGE):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": size, "pointerSize": 130}
            listed.append(entry)
        self._send(200, listed)

    def preupload(self, kind: str, name: str, revision: str) -> None:
        asked = json.loads(self.body)["files"]
        modes = {True: "lfs", False: "regular"}
        self._send(200, {"files": [
            {"path": each["path"], "uploadMode": modes[each["path"].endswith(LARGE)], "shouldIgnore": False} for each in asked
        ]})  # fmt: skip

    def batch(self, name: str, prefix: str | None = None) -> None:
        objects = []
        for each in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/large/{each['oid']}"}}
            objects.append(each if each["oid"] in self.hub.large else {**each, "actions": upload})
        self._send(200, {"transfer": "basic", "objects": objects})

    def large(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.large[oid] = self.body
        self._send(200, {})

    def commit(self, kind: str, name: str, revision: str) -> None:
        found = self._repository(kind, name)
        if found is None or not self._known():
            return
        head, files = found.commits[-1]
        files = dict(files)
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit", head) != head:
                self._send(412, {"error": "A commit has happened since."})
                return
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            if line["key"] == "deletedFile":
                del files[value["path"]]
        made = found.commit(files)
        self._send(200, {"success": True, "commitOid": made, "commitUrl": f"{self.hub.url}/{name}/commit/{made}"})

    def resolve(self, name: str, revision: str, path: str, prefix: str | None = None) -> None:
        found = self._repository("dataset" if prefix else "model", name)
        commit = found and self._commit_of(found, revision)
        if not commit:
            return
        content = commit[1].get(path)
        if content is None:
            self._send(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            return
        etag = hashlib.sha256(content).hexdigest() if path.endswith(LARGE) else sha1(content)
        self._send(200, content, ETag=f'"{etag}"', X_Repo_Commit=commit[0])


_NAME = r"(?P<name>[^/]+/[^/]+?)"
_API = rf"/api/(?P<kind>model|dataset)s/{_NAME}"
ROUTES: list[tuple[str, Any]] = [
    (r"/api/repos/create", _Handler.create),
    (r"/api/validate-yaml", _Handler.validate),
    (_API, _Handler.about),
    (rf"{_API}/revision/(?P<revision>.+)", _Handler.about),
    (rf"{_API}/tree/(?P<revision>[^/]+)(/.*)?", _Handler.tree),
    (rf"{_API}/preupload/(?P<revision>.+)", _Handler.preupload),
    (rf"{_API}/commit/(?P<revision>.+)", _Handler.commit),
    (rf"/(?P<prefix>datasets/)?{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"/large/(?P<oid>[0-9a-f]{64})", _Handler.large),
    (rf"/(?P<prefix>datasets/)?{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
]
