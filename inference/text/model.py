"""All that one model folder says about text: template, vocabulary, end tokens, context length.

No torch and no weights, so that the web processes count and refuse before anything is queued.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.text.detokenizer import Detokenizer
from inference.text.fitting import Fitted, fit
from inference.text.folders import ModelFolderError
from inference.text.prompt_parts import owners
from inference.text.spans import SpanReader
from inference.text.template import ChatTemplate, Message, TemplateFailed, Variable
from inference.text.vocabulary import Vocabulary

VARIABLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
             "mask_token")  # fmt: skip


class TextModel:
    """The text side of one model. Safe to share between threads.

    `context_length` is None for a vocabulary without a model. Raises ModelFolderError when the
    folder's files can't be read.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        try:
            self.vocabulary = Vocabulary(folder / "tokenizer.json")
        except (OSError, ValueError) as error:
            raise ModelFolderError(
                f"The tokenizer of {folder.name} can't be read: {error}"
            ) from error
        config = read_json(folder / "config.json")
        settings = read_json(folder / "tokenizer_config.json")
        names = {**read_json(folder / "special_tokens_map.json"), **settings}
        variables = {name: _token_text(names[name]) for name in VARIABLES if names.get(name)}
        self.context_length = context_length(config, settings)
        self.eos_token_ids = self._end_tokens(folder, config, variables)
        source = _template_source(folder, settings)
        self._template = (
            ChatTemplate(source, self.vocabulary, variables=variables) if source else None
        )

    @property
    def vocab_size(self) -> int:
        """The highest token id and one."""
        return self.vocabulary.size

    @property
    def has_chat_template(self) -> bool:
        return self._template is not None

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        add_special_tokens: bool = False,
        variables: Mapping[str, Variable] | None = None,
    ) -> list[int]:
        """The prompt's tokens, ready for an answer. Raises BadMessage, TemplateFailed.

        `variables` are further names for the template, such as enable_thinking;
        `continue_final_message` leaves the last message open, `add_special_tokens` puts what the
        tokenizer wants around a raw prompt here too.
        """
        if self._template is None:
            raise TemplateFailed(f"{self.name} has no chat template, so it can't hold a chat.")
        text = self._template.render(
            messages,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            variables=variables,
        )
        return self.vocabulary.encode_spelled(text, add_special_tokens=add_special_tokens)

    def render_text(self, messages: Sequence[Message]) -> str:
        """The prompt as text, control tokens by their own names. Raises as `render`."""
        if self._template is None:
            raise TemplateFailed(f"{self.name} has no chat template, so it can't hold a chat.")
        return self.vocabulary.unspell(self._template.render(messages))

    def owners(
        self, token_ids: Sequence[int], messages: Sequence[Message]
    ) -> list[int | None] | None:
        """Which message each token of a rendered prompt came from; see prompt_parts.py."""
        pieces = [self.vocabulary.pieces.spelled(token) for token in token_ids]
        return owners(pieces, messages, self.render_text)

    def count(self, content: str | Sequence[Message]) -> int:
        """Tokens of a text, or of a conversation with its template."""
        return len(self.encode(content) if isinstance(content, str) else self.render(content))

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return self.vocabulary.encode(text, add_special_tokens=add_special_tokens)

    def decode(self, token_ids: Iterable[int]) -> str:
        return self.vocabulary.decode(token_ids)

    def detokenizer(
        self,
        *,
        stop: Sequence[str] = (),
        min_tokens: int = 0,
        skip_special_tokens: bool = True,
        keeps_first_space: bool = False,
    ) -> Detokenizer:
        """See Detokenizer."""
        return Detokenizer(
            self.vocabulary.pieces,
            stop=stop,
            min_tokens=min_tokens,
            skip_special_tokens=skip_special_tokens,
            keeps_first_space=keeps_first_space,
        )

    def span_reader(
        self, *, skip_special_tokens: bool = True, keeps_first_space: bool = False
    ) -> SpanReader:
        """See SpanReader."""
        return SpanReader(
            self.vocabulary.pieces,
            skip_special_tokens=skip_special_tokens,
            keeps_first_space=keeps_first_space,
        )

    def fit(
        self,
        messages: Sequence[Message],
        *,
        context_length: int | None = None,
        max_tokens: int,
        continued_tokens: int = 0,
    ) -> Fitted:
        """The conversation as a prompt that leaves room for the answer; see fitting.py."""
        limit = context_length or self.context_length
        if limit is None:
            raise TemplateFailed(f"{self.name} is a vocabulary without a model.")
        return fit(
            self,
            messages,
            context_length=min(limit, self.context_length or limit),
            max_tokens=max_tokens,
            continued_tokens=continued_tokens,
        )

    def _end_tokens(
        self, folder: Path, config: dict[str, Any], variables: dict[str, str]
    ) -> frozenset[int]:
        """generation_config.json decides, then config.json, then the tokenizer's own end token."""
        for source in (read_json(folder / "generation_config.json"), config):
            ids = source.get("eos_token_id")
            if isinstance(ids, int):
                return frozenset([ids])
            if isinstance(ids, list) and ids:
                return frozenset(ids)
        own = self.vocabulary.id_of(variables.get("eos_token", ""))
        return frozenset() if own is None else frozenset([own])


@functools.lru_cache(maxsize=16)
def _load(folder: Path, changed_ns: int) -> TextModel:
    return TextModel(folder)


def load_text(model_dir: Path) -> TextModel:
    """The text side of a model folder, kept; read anew when its tokenizer.json has changed."""
    try:
        changed_ns = (model_dir / "tokenizer.json").stat().st_mtime_ns
    except OSError as error:
        raise ModelFolderError(f"{model_dir} has no tokenizer.json.") from error
    return _load(model_dir.resolve(), changed_ns)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty without the file. Raises ModelFolderError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise ModelFolderError(f"{path} holds no JSON object.")
    return value


def context_length(config: dict[str, Any], tokenizer_config: dict[str, Any]) -> int | None:
    """Tokens of prompt and answer together, as the configuration or else the tokenizer says."""
    text = config.get("text_config") or config
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"):
        if isinstance(text.get(name), int):
            return int(text[name])
    length = tokenizer_config.get("model_max_length")
    return int(length) if isinstance(length, int | float) and 0 < length < 1e9 else None


def _token_text(value: Any) -> str:
    """tokenizer_config.json writes a token as text or as an object with its `content`."""
    return str(value.get("content", "")) if isinstance(value, dict) else str(value)


def _template_source(folder: Path, settings: dict[str, Any]) -> str | None:
    """The chat template: a file of its own, or in tokenizer_config.json, alone or by name."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    found = read_json(folder / "chat_template.json").get("chat_template")
    found = settings.get("chat_template", found)
    if isinstance(found, list):
        named = {item.get("name"): item.get("template") for item in found}
        found = named.get("default")
    return found if isinstance(found, str) else None
