"""The default model's text side, and small model folders of other families."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from inference.text import TextModel, load_text

TRAINING = [
    "The quick brown fox jumps over the lazy dog, 1234 times; naïve façade, São Paulo.",
    "def main():\n    return [x**2 for x in range(10)]\n\n\n",
    "Ein Satz mit Umlauten: äöü ÄÖÜ ß. Une phrase française : été, où ?",
    "system user assistant You are a helpful assistant. Yes! No? <not> [a] {mark} |x|",
] * 20

CHATML = (
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content | trim"
    " + '<|im_end|>\\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('no system role here') }}{% endif %}"
    "{{ '<turn>' ~ m['role'] ~ '\\n' ~ m['content'] ~ '</turn>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<turn>model\\n' }}{% endif %}"
)
CONCATENATED = (
    "{% for m in messages %}{% generation %}"
    "{{ '<|' ~ m.role ~ '|>\\n' ~ m.content ~ '<|end|>\\n' }}"
    "{% endgeneration %}{% if m.role == 'tool' %}{% continue %}{% endif %}{% endfor %}"
    "{% set ns = namespace(done=false) %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}"
    "{% endif %}"
)


@pytest.fixture(scope="session")
def default_folder(default_model_dir: Path) -> Path:
    return default_model_dir


@pytest.fixture(scope="session")
def text(default_folder: Path) -> TextModel:
    return load_text(default_folder)


@pytest.fixture(scope="session")
def default_tokenizer(default_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(default_folder / "tokenizer.json"))


def _byte_level(specials: list[AddedToken]) -> Tokenizer:
    """As GPT-2, Llama 3, Qwen and gpt-oss are made."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.add_tokens(specials)
    return tokenizer


def _spaced_bytes(specials: list[AddedToken]) -> Tokenizer:
    """As Llama 2, Mistral and Gemma are made: ▁ for a space, lone bytes as <0xE2>."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    lone_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", *lone_bytes], show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    data["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    }
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_tokens(specials)
    return tokenizer


def _unigram(specials: list[AddedToken]) -> Tokenizer:
    """Its own entries hold the control tokens, so that plain text could match them."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=["<unk>", *(token.content for token in specials)],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.add_tokens(specials)
    return tokenizer


MAKERS: dict[str, tuple[Callable[[list[AddedToken]], Tokenizer], str, list[AddedToken]]] = {
    "chatml": (
        _byte_level,
        CHATML,
        [
            AddedToken("<|im_start|>", special=True),
            AddedToken("<|im_end|>", special=True),
            AddedToken("<think>", special=False),
            AddedToken("</think>", special=False),
            AddedToken("\n\n\n", special=False),
        ],
    ),
    "no-system": (
        _spaced_bytes,
        NO_SYSTEM,
        [
            AddedToken("<s>", special=True),
            AddedToken("<turn>", special=True),
            AddedToken("</turn>", special=True),
        ],
    ),
    "concatenated": (
        _unigram,
        CONCATENATED,
        [
            AddedToken(f"<|{name}|>", special=True, rstrip=True)
            for name in ("system", "user", "assistant", "end")
        ],
    ),
}


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            maker, template, specials = MAKERS[family]
            folder = tmp_path_factory.mktemp(family)
            maker(specials).save(str(folder / "tokenizer.json"))
            first, last = specials[0].content, specials[-1].content
            write_json(folder / "tokenizer_config.json", bos_token=first, eos_token=last)
            write_json(folder / "config.json", max_position_embeddings=512)
            (folder / "chat_template.jinja").write_text(template)
            made[family] = folder
        return made[family]

    return make


@pytest.fixture(params=sorted(MAKERS))
def family(request: pytest.FixtureRequest, make_folder: Callable[[str], Path]) -> Path:
    """The folder of a small model's text side, one family after the other."""
    return make_folder(request.param)


def write_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(values))
