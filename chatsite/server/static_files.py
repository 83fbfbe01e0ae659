"""Static files under names that hold a hash of their content: browsers keep them, compressed.

Nothing is collected by hand. Each process reads the files where they lie and computes their names;
what must differ from the source (style sheets, whose url() point to hashed names) and the
compressed copies are written once per content into STATIC_CACHE, by the web process as it starts.

JavaScript modules keep their imports as written: the page's import map (`import_map`) leads each of
them to its hashed name.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from wsgiref.headers import Headers

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

try:
    import brotli
except ImportError:  # gzip alone, then
    brotli = None

HASH_DIGITS = 12
COMPRESSIBLE = (".js", ".css", ".svg", ".json", ".txt", ".map", ".html", ".xml")
MIN_COMPRESSED_BYTES = 400
CSS_REFERENCE = re.compile(r"""(url\(\s*['"]?|@import\s+['"])([^'")\s]+)""")
COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.DOTALL | re.MULTILINE)
STATIC_IMPORT = re.compile(r"""^(?:import|export)\b(?:[^;"']*?\bfrom)?\s*["']([^"']+)["']""", re.M)
DYNAMIC_IMPORT = re.compile(r"""\bimport\(\s*["']([^"']+)["']\s*\)""")


@dataclass(frozen=True, slots=True)
class File:
    """A static file. `content` is set where it differs from what lies at `source`."""

    name: str
    hashed_name: str
    source: Path
    digest: str
    content: bytes | None

    @property
    def cached(self) -> Path:
        """Where its copies lie: this path with .gz or .br, and the path itself for `content`."""
        return Path(settings.STATIC_CACHE, f"{self.digest}{self.source.suffix}")

    @property
    def path(self) -> Path:
        """Where what is served lies."""
        return self.source if self.content is None else self.cached


class HashedStorage(StaticFilesStorage):
    """`{% static %}` gives hashed names; plain ones while DEBUG, where files change."""

    def url(self, name: str | None) -> str:
        if settings.DEBUG or name is None:
            return str(super().url(name))
        file = files().get(name)
        return str(super().url(file.hashed_name if file else name))


@cache
def files() -> dict[str, File]:
    """Every static file by its name. Read once per process."""
    sources: dict[str, Path] = {}
    for finder in finders.get_finders():
        for name, storage in finder.list([]):
            prefix = getattr(storage, "prefix", None)
            full = posixpath.join(prefix, name) if prefix else name
            sources.setdefault(full.replace(os.sep, "/"), Path(storage.path(name)))
    found: dict[str, File] = {}
    for name in sources:
        _add(name, sources, found)
    return found


def _add(name: str, sources: dict[str, Path], found: dict[str, File]) -> File:
    """Add a file after those that it refers to, which never lead back to it."""
    if name in found:
        return found[name]
    source = sources[name]
    read = source.read_bytes()
    content = read
    if source.suffix == ".css":

        def lead_on(match: re.Match[str]) -> str:
            target, end = match[2], ""
            for sign in "?#":
                target, mark, rest = target.partition(sign)
                end = mark + rest + end
            full = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if ":" in target or target.startswith("/") or full not in sources:
                return match[0]
            hashed = posixpath.basename(_add(full, sources, found).hashed_name)
            return match[1] + posixpath.join(posixpath.dirname(target), hashed) + end

        content = CSS_REFERENCE.sub(lead_on, read.decode()).encode()
    digest = hashlib.sha256(content).hexdigest()
    stem, suffix = posixpath.splitext(name)
    hashed_name = f"{stem}.{digest[:HASH_DIGITS]}{suffix}"
    found[name] = File(name, hashed_name, source, digest, content if content != read else None)
    return found[name]


def write_copies() -> None:
    """Write rewritten and compressed copies that are not there yet: seconds the first time."""
    folder = Path(settings.STATIC_CACHE)
    folder.mkdir(parents=True, exist_ok=True)
    known = {path.name for path in folder.iterdir()}
    for file in files().values():
        if file.content is not None and file.cached.name not in known:
            _write(file.cached, file.content)
        if file.source.suffix not in COMPRESSIBLE:
            continue
        for suffix, compress in _encoders():
            target = file.cached.with_name(f"{file.cached.name}{suffix}")
            if target.name in known:
                continue
            content = file.source.read_bytes() if file.content is None else file.content
            if len(content) >= MIN_COMPRESSED_BYTES:
                _write(target, compress(content))


def _encoders() -> Iterator[tuple[str, Any]]:
    yield ".gz", lambda content: gzip.compress(content, 9, mtime=0)
    if brotli is not None:
        yield ".br", lambda content: brotli.compress(content, quality=11)


def _write(target: Path, content: bytes) -> None:
    """The file appears whole or not at all: other processes may be writing the same."""
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as draft:
        draft.write(content)
    os.replace(draft.name, target)


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise with the hashed names beside the plain ones."""

    def add_files_from_finders(self) -> None:
        self.files.update(_served(self))


@cache
def _served_by_url(prefix: str) -> dict[str, Any]:
    """What is served, by URL. Filled by the first middleware of this process."""
    return {}


def _served(middleware: StaticFilesMiddleware) -> dict[str, Any]:
    served = _served_by_url(middleware.static_prefix)
    if not served:
        write_copies()
        for file in files().values():
            hashed = middleware.static_prefix + file.hashed_name
            served[hashed] = _static_file(middleware, file, file.path, hashed)
            plain = middleware.static_prefix + file.name
            served[plain] = _static_file(middleware, file, file.source, plain)
    return served


def _static_file(middleware: StaticFilesMiddleware, file: File, path: Path, url: str) -> StaticFile:
    headers = Headers([])
    middleware.add_mime_headers(headers, str(path), url)
    is_hashed = url.endswith(file.hashed_name)
    headers["Cache-Control"] = (
        f"public, max-age={middleware.FOREVER}, immutable"
        if is_hashed
        else f"public, max-age={middleware.max_age}"
    )
    copies = {"gzip": f"{file.cached}.gz", "br": f"{file.cached}.br"}
    has_copies = path == file.path
    encodings = {name: copy for name, copy in copies.items() if has_copies and os.path.exists(copy)}
    return StaticFile(str(path), headers.items(), encodings=encodings)


# --- modules -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModuleGraph:
    """All modules that an entry reaches; `preloaded` are those that it can't start without."""

    preloaded: tuple[str, ...]
    reached: tuple[str, ...]


@cache
def module_graph(entry: str) -> ModuleGraph:
    """The modules that a page needs, by name, the entry first."""
    preloaded, reached = [entry], [entry]
    for name in preloaded:
        preloaded += [one for one in _imports(name, STATIC_IMPORT) if one not in preloaded]
    reached = list(preloaded)
    for name in reached:
        for pattern in (STATIC_IMPORT, DYNAMIC_IMPORT):
            reached += [one for one in _imports(name, pattern) if one not in reached]
    return ModuleGraph(tuple(preloaded), tuple(reached))


def _imports(name: str, pattern: re.Pattern[str]) -> list[str]:
    file = files().get(name)
    if file is None or name.startswith("vendor/"):  # which are bundles
        return []
    code = COMMENT.sub("", file.source.read_text())
    folder = posixpath.dirname(name)
    return [
        posixpath.normpath(posixpath.join(folder, target))
        for target in dict.fromkeys(pattern.findall(code))
        if target.startswith(".")
    ]
