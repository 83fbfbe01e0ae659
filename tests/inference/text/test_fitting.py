"""What is left out of a long conversation, what is refused, and how long that takes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.text import (
    ModelFolderError,
    PromptTooLong,
    TextModel,
    clean,
    load_text,
    model_folder,
)
from tests.inference.text.conftest import write_json

SYSTEM = {"role": "system", "content": "Answer in one word."}


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def test_a_conversation_that_fits_is_kept_whole(text: TextModel) -> None:
    messages = [SYSTEM, user("One?"), assistant("Two."), user("Three?")]
    fitted = text.fit(messages, max_tokens=100)
    assert fitted.trimmed_messages == 0
    assert list(fitted.token_ids) == text.render(messages)


def test_the_oldest_turns_go_first_and_the_system_prompt_stays(text: TextModel) -> None:
    turns = [[user(f"Question {n} " + "words " * 30), assistant("word " * 20)] for n in range(10)]
    messages = [SYSTEM, *(m for turn in turns for m in turn), user("The last one?")]
    fitted = text.fit(messages, context_length=300, max_tokens=50)
    assert len(fitted.token_ids) + 50 <= 300
    assert fitted.trimmed_messages % 2 == 0
    kept = [SYSTEM, *messages[1 + fitted.trimmed_messages :]]
    assert list(fitted.token_ids) == text.render(kept)
    one_more = [SYSTEM, *messages[1 + fitted.trimmed_messages - 2 :]]
    assert text.count(one_more) + 50 > 300


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=15),
    context=st.integers(60, 400),
    max_tokens=st.integers(1, 500),
    continued=st.integers(0, 30),
)
def test_whatever_is_kept_is_whole_fits_and_ends_with_the_last_turn(
    text: TextModel, sizes: list[int], context: int, max_tokens: int, continued: int
) -> None:
    messages = [SYSTEM]
    for place, size in enumerate(sizes):
        messages.append((user if place % 2 == 0 else assistant)("word " * size + str(place)))
    try:
        fitted = text.fit(
            messages, context_length=context, max_tokens=max_tokens, continued_tokens=continued
        )
    except PromptTooLong as error:
        refused: PromptTooLong | None = error
    else:
        refused = None
    if refused is not None:
        last_turn = max(n for n, m in enumerate(messages) if m["role"] == "user")
        count = text.count([SYSTEM, *messages[last_turn:]]) + continued
        assert (refused.prompt_tokens, refused.context_length) == (count, context)
        assert count >= context
        return
    assert len(fitted.token_ids) + continued < context
    kept = messages[1 + fitted.trimmed_messages :]
    assert kept[0]["role"] == "user"
    assert list(fitted.token_ids) == text.render([SYSTEM, *kept])


def test_a_huge_max_tokens_does_not_make_the_model_forget(text: TextModel) -> None:
    messages = [user("words " * 200), assistant("Yes."), user("And now?")]
    assert text.fit(messages, context_length=1000, max_tokens=1000).trimmed_messages == 0


def test_a_last_turn_that_fills_the_context_is_refused_with_both_numbers(text: TextModel) -> None:
    with pytest.raises(PromptTooLong, match="8192") as caught:
        text.fit([user("word " * 9000)], max_tokens=10)
    assert caught.value.prompt_tokens == text.count([user("word " * 9000)])
    assert caught.value.context_length == 8192
    assert caught.value.is_exact


def test_two_hundred_thousand_letters_in_a_word_are_refused_at_once(text: TextModel) -> None:
    begin = time.perf_counter()
    with pytest.raises(PromptTooLong, match="more than"):
        text.fit([user("a" * 200_000)], max_tokens=10)
    assert time.perf_counter() - begin < 1.0


def test_a_huge_old_message_goes_and_the_question_after_it_is_asked(text: TextModel) -> None:
    messages = [user(" " * 800_000), assistant("What is that?"), user("Nothing. Hi!")]
    fitted = text.fit(messages, max_tokens=10)
    assert fitted.trimmed_messages == 2
    assert list(fitted.token_ids) == text.render(messages[2:])


def test_an_empty_conversation_is_just_the_template(text: TextModel) -> None:
    assert list(text.fit([], max_tokens=10).token_ids) == text.render([])


def test_a_hundred_thousand_characters_are_counted_quickly(text: TextModel) -> None:
    written = "It was the best of times, it was the worst of times; naïve, 1859.\n" * 1500
    best = min(_seconds(text, written[:100_000]) for _ in range(5))
    assert best < 0.15, "about 0.03 s on an idle machine; the goal there is 0.05 s"


def _seconds(text: TextModel, written: str) -> float:
    begin = time.perf_counter()
    text.count(written)
    return time.perf_counter() - begin


def test_lone_surrogates_and_nul_become_the_replacement_character() -> None:
    assert clean("a\ud83d b\0c") == "a\ufffd b\ufffdc"
    assert clean("\ud83d\udc4d") == "👍"
    assert clean("\u202eabc\u200d\x07") == "\u202eabc\u200d\x07"


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_cleaned_text_is_always_valid(written: str) -> None:
    cleaned = clean(written)
    cleaned.encode("utf-8")
    assert "\0" not in cleaned
    assert clean(cleaned) == cleaned


def test_any_text_can_be_encoded(text: TextModel) -> None:
    assert text.decode(text.encode("\ud800 \0 x")) == "\ufffd \ufffd x"


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_with_only_a_tokenizer_is_a_vocabulary(
    tmp_path: Path, default_folder: Path
) -> None:
    (tmp_path / "tokenizer.json").write_bytes((default_folder / "tokenizer.json").read_bytes())
    vocabulary = load_text(tmp_path)
    assert vocabulary.decode(vocabulary.encode("Hello")) == "Hello"
    assert vocabulary.context_length is None
    assert not vocabulary.has_chat_template


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": 1, "added_tokens": []}'])
def test_a_broken_tokenizer_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelFolderError, match="can't be read"):
        load_text(tmp_path)


def test_end_tokens_come_from_generation_config_first(tmp_path: Path, make_folder: object) -> None:
    folder = make_folder("chatml")  # type: ignore[operator]
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    own = load_text(tmp_path).vocabulary.id_of("\n\n\n")
    assert load_text(tmp_path).eos_token_ids == {own}
    write_json(tmp_path / "generation_config.json", eos_token_id=[3, 4])
    assert TextModel(tmp_path).eos_token_ids == {3, 4}


def test_a_model_is_found_by_slug_and_by_path_in_allowed_folders_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    (models / "small").mkdir(parents=True)
    write_json(models / "small" / "config.json")
    (tmp_path / "elsewhere").mkdir()
    write_json(tmp_path / "elsewhere" / "config.json")
    (models / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("CHATSITE_MODELS", str(models))
    assert model_folder("small") == models / "small"
    assert model_folder(models / "small") == models / "small"
    for name in ("../elsewhere", "link", tmp_path / "elsewhere", "small/..", "/", "a\0b", "none"):
        with pytest.raises(ModelFolderError):
            model_folder(name)
    monkeypatch.setenv("CHATSITE_MODEL_FOLDERS", str(tmp_path))
    assert model_folder("link") == tmp_path / "elsewhere"
