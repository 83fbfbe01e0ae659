"""A model's vocabulary: text to tokens and back, so that no text can become a control token.

Control tokens (<|im_end|>, <s>, …) are written by two hands: the chat template means them, a person
may type them. So the tokenizer that encodes prompts knows them only under secret spellings, drawn
when it is loaded. The template's are translated into those (template.py); what people write stays
text, and everything else is encoded by the very rules of tokenizer.json.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from inference.text.clean import clean
from inference.text.detokenizer import Detokenizer
from inference.text.pieces import Pieces

MARK = re.compile(r"\s*[<\[{|].*[>\]}|]\s*", re.DOTALL)
"""What an added token looks like that means something to the model: <think>, [INST], <|x|>."""


class Vocabulary:
    """tokenizer.json as it is (`decode`), and with its control tokens spelled secretly (`encode`).

    `controls` maps each control token's text to its secret spelling, `special` names those that
    tokenizer.json calls special. Raises ValueError for a file that isn't a tokenizer.
    """

    def __init__(self, path: Path) -> None:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            data.update(truncation=None, padding=None)
            self._plain = Tokenizer.from_str(json.dumps(data))
            self.controls = _secret_spellings(data)
            self.special = {t["content"] for t in data["added_tokens"] if t["special"]}
            self._secret = Tokenizer.from_str(json.dumps(_respelled(data, self.controls)))
        except Exception as error:  # what the tokenizers library raises has no class of its own
            raise ValueError(f"{path} is not a tokenizer: {error}") from error
        self.size = max(self._plain.get_vocab(with_added_tokens=True).values()) + 1
        self.pieces = Pieces(self._plain, data.get("decoder"))
        # An added token that isn't part of the vocabulary proper is numbered anew when it is
        # spelled anew, but only if the file leaves gaps; then it is translated back.
        self._renumbered: dict[int, int] = {}
        for text, spelling in self.controls.items():
            new, old = self._secret.token_to_id(spelling), self._plain.token_to_id(text)
            if new is not None and old is not None and new != old:
                self._renumbered[new] = old
        self._control_pattern = any_of(self.controls)
        self._names = {spelling: text for text, spelling in self.controls.items()}
        self._spelling_pattern = any_of(self._names)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Tokens of text that somebody wrote; control tokens in it are mere letters.

        `add_special_tokens` puts what the tokenizer wants around a raw prompt (<s>, for example).
        """
        return self.encode_spelled(clean(text), add_special_tokens=add_special_tokens)

    def encode_spelled(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Tokens of text in which control tokens are meant where they are spelled secretly."""
        # The batch call without offsets takes two thirds of the time of `encode`.
        ids: list[int] = self._secret.encode_batch_fast(
            [text], add_special_tokens=add_special_tokens
        )[0].ids
        if self._renumbered:
            return [self._renumbered.get(token, token) for token in ids]
        return ids

    def spell(self, text: str) -> str:
        """Translate the control tokens of `text` into their secret spellings."""
        if self._control_pattern is None:
            return text
        return self._control_pattern.sub(lambda match: self.controls[match[0]], text)

    def unspell(self, text: str) -> str:
        """Translate secret spellings back into the control tokens' own names."""
        if self._spelling_pattern is None:
            return text
        return self._spelling_pattern.sub(lambda match: self._names[match[0]], text)

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of these tokens, special ones left out."""
        detokenizer = Detokenizer(self.pieces)
        parts = [detokenizer.feed(token) for token in token_ids]
        return "".join(parts) + detokenizer.finish()

    def token(self, token_id: int) -> str | None:
        """The token as the vocabulary writes it; None for an id that has no token."""
        text: str | None = self._plain.id_to_token(token_id) if token_id >= 0 else None
        return text

    def id_of(self, token: str) -> int | None:
        found: int | None = self._plain.token_to_id(token)
        return found


def _secret_spellings(data: dict[str, Any]) -> dict[str, str]:
    """Control token → spelling: special tokens, and added ones that look like marks.

    Other added tokens (runs of line ends, words) are ordinary text and stay as they are.
    """
    secret = secrets.token_hex(16)
    tokens = [
        token["content"]
        for token in data["added_tokens"]
        if token["special"] or MARK.fullmatch(token["content"])
    ]
    return {text: f"Control{secret}n{place}End" for place, text in enumerate(tokens)}


def _respelled(data: dict[str, Any], controls: dict[str, str]) -> dict[str, Any]:
    """tokenizer.json with the control tokens under their spellings, also in the vocabulary proper.

    There because a vocabulary may match whole words against its entries (Unigram, and byte-pair
    encoding with `ignore_merges`).
    """

    def spelled(text: str) -> str:
        return controls.get(text, text)

    model = dict(data["model"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {spelled(token): id for token, id in model["vocab"].items()}
    else:
        model["vocab"] = [[spelled(token), score] for token, score in model["vocab"]]
    if "merges" in model:
        model["merges"] = [m for m in model["merges"] if not _makes_control(m, controls)]
    if model.get("unk_token"):
        model["unk_token"] = spelled(model["unk_token"])
    added = [{**token, "content": spelled(token["content"])} for token in data["added_tokens"]]
    return {**data, "model": model, "added_tokens": added}


def _makes_control(merge: str | list[str], controls: dict[str, str]) -> bool:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left in controls or right in controls or left + right in controls


def any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Matches any of these, the longest first, as the tokenizer would."""
    ordered = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
