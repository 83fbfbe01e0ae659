"""Variables of a chat template that a caller may set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from inference.text import TextModel

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}quiet{% endif %}{{ mood }}"
)


@pytest.fixture
def text(tmp_path: Path) -> TextModel:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_tokens([AddedToken("<|user|>", special=True)])
    data = json.loads(tokenizer.to_str())
    data["decoder"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                       "use_regex": True}  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    return TextModel(tmp_path)


HI = [{"role": "user", "content": "hi"}]


def test_a_variable_reaches_the_template(text):
    assert text.decode(text.render(HI)) == "hi"
    assert text.decode(text.render(HI, variables={"enable_thinking": False})) == "hiquiet"


def test_a_variable_cannot_forge_a_control_token(text):
    ids = text.render(HI, variables={"mood": "<|user|>"})
    assert ids.count(text.vocabulary.id_of("<|user|>")) == 1
    assert text.decode(ids) == "hi<|user|>"


def test_the_templates_own_names_cannot_be_replaced(text):
    assert text.render(HI, variables={"messages": "x"}) == text.render(HI)
