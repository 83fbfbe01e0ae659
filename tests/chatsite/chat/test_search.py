"""Search: what people type finds what they wrote, on either database, and never another's words."""

from __future__ import annotations

import random
import re
import unicodedata
import uuid

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from chatsite.accounts.models import User
from chatsite.chat import deletion
from chatsite.chat.answers import MessageAnswers
from chatsite.chat.models import Conversation, Message, SearchDocument
from chatsite.chat.queries import conversation_rows
from chatsite.chat.search import search
from chatsite.chat.search_index import index_existing
from chatsite.chat.search_text import Term, fold, snippet, spans_in, words_of

LONG = " ".join(f"filler{n}" for n in range(30_000))


def talk(owner: User, title: str, *texts: str) -> Conversation:
    """A conversation with these messages in one branch."""
    conversation = Conversation.objects.create(owner=owner, title=title)
    parent = None
    for number, text in enumerate(texts):
        role = "assistant" if number % 2 else "user"
        parent = Message.objects.create(
            conversation=conversation, parent=parent, role=role, text=text, author=owner
        )
    return conversation


def found(user: User, text: str) -> list[str]:
    """The titles that a search gives, in alphabetical order."""
    return sorted(search(user, text).rows.values_list("title", flat=True))


@pytest.fixture
def shelf(alice: User, bob: User) -> None:
    talk(alice, "Food", "Ein Café in MÜNCHEN", "Ｆｕｌｌ ｗｉｄｔｈ Straße")
    talk(alice, "Letters", "ПРИВЕТ, мир", unicodedata.normalize("NFD", "Your résumé, naïve"))
    talk(alice, "Bread", "My sourdough starter", "Bake it at home. The quick brown fox.")
    talk(
        alice,
        "東京の天気",
        "機械学習とは何ですか",
        "ガラスの靴",
        "오늘 날씨가 좋네요",
        "สวัสดีชาวโลก",
    )
    talk(alice, "Codes", "std::vector<int> at http://example.org/a_b", "ratio 10:30, C++ and don't")
    talk(bob, "Bob's bread", "Bob's sourdough is secret")


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("münchen", ["Food"]),
        ("MUNCHEN", ["Food"]),
        ("cafe", ["Food"]),
        ("CAFÉ", ["Food"]),
        ("full width", ["Food"]),
        ("strasse", ["Food"]),
        ("STRASSE", ["Food"]),
        ("straße", ["Food"]),
        ("привет", ["Letters"]),
        ("RESUME", ["Letters"]),
        ("résumé", ["Letters"]),
        ("naive resume", ["Letters"]),
        ("quick fox", ["Bread"]),
        ("fox quick", ["Bread"]),
        ("home sourdough", ["Bread"]),  # in two messages
        ("bread sourdough", ["Bread"]),  # in title and message
        ("sourd", ["Bread"]),
        ("sour home", ["Bread"]),
        ('"quick brown"', ["Bread"]),
        ('"brown quick"', []),
        ('"quick bro"', []),
        ('"sourd"', []),
        ("ourdough", []),
        ("s", ["Bread", "Codes", "Food"]),
        ("東京", ["東京の天気"]),
        ("学習", ["東京の天気"]),
        ("習学", []),
        ("天気 学習", ["東京の天気"]),
        ("ｶﾞﾗｽ", ["東京の天気"]),
        ("カラス", []),
        ("날씨", ["東京の天気"]),
        ("ชาวโลก", ["東京の天気"]),
        ("std::vector", ["Codes"]),
        ("http://example.org/a_b", ["Codes"]),
        ("10:30", ["Codes"]),
        ("c++", ["Codes"]),
        ("don't", ["Codes"]),
        ("sourdough nothing", []),
        ("\ue0009", []),
        ("🦉", []),
    ],
)
def test_a_search_finds_what_people_mean(
    shelf: None, alice: User, text: str, titles: list[str]
) -> None:
    assert found(alice, text) == titles


def test_nobody_finds_another_persons_words(shelf: None, alice: User, bob: User) -> None:
    assert found(bob, "sourdough") == ["Bob's bread"]
    assert found(bob, "münchen") == []
    assert found(alice, "secret") == []
    assert found(alice, f"\ue000{bob.pk}") == []
    page = conversation_rows(bob, text="sourdough")
    assert [item.snippet for item in page.items] == ["Bob's sourdough is secret"]


def test_a_document_of_another_owner_leads_nowhere(shelf: None, alice: User, bob: User) -> None:
    """Were the index wrong about the owner, the rows would still be one's own alone."""
    SearchDocument.objects.filter(conversation__owner=alice).update(owner=bob)
    assert found(bob, "münchen") == []


def test_writes_keep_the_index_in_step(alice: User) -> None:
    conversation = talk(alice, "Otters", "They hold hands.")
    message = conversation.messages.get()
    message.text = "They sleep afloat."
    message.save()
    assert found(alice, "hands") == []
    assert found(alice, "afloat") == ["Otters"]
    conversation.title = "Beavers"
    conversation.save(update_fields=["title"])
    assert found(alice, "otters") == []
    assert found(alice, "beavers") == ["Beavers"]
    message.delete()
    assert found(alice, "afloat") == []
    conversation.delete()
    assert found(alice, "beavers") == []
    assert SearchDocument.objects.count() == 0


def test_an_answer_is_indexed_when_it_has_ended(alice: User) -> None:
    conversation = talk(alice, "Tale")
    answer = Message.objects.create(
        conversation=conversation, role="assistant", author=alice, request_id=uuid.uuid4(),
        state=Message.State.QUEUED,
    )  # fmt: skip

    class Transcript:
        text = "Once upon"
        token_ids = [1, 2]
        result = None

    MessageAnswers().checkpoint(answer.request_id, Transcript())  # type: ignore[arg-type]
    assert found(alice, "once") == []
    answer.refresh_from_db()
    answer.state, answer.finish_reason = Message.State.DONE, "stop"
    answer.text = "Once upon a time"
    answer.save(update_fields=["text", "state", "finish_reason"])
    assert found(alice, "once time") == ["Tale"]


def test_rows_made_in_bulk_are_found_too(alice: User) -> None:
    made = Conversation.objects.bulk_create([Conversation(owner=alice, title="Bulk")])
    Message.objects.bulk_create(
        [Message(conversation=made[0], author=alice, role="user", text="Copied in")]
    )
    assert found(alice, "bulk copied") == ["Bulk"]


def test_conversations_from_before_the_index_are_indexed_once(alice: User) -> None:
    talk(alice, "Old", "From long ago")
    SearchDocument.objects.all().delete()
    assert found(alice, "ago") == []
    index_existing(Conversation, Message, SearchDocument)
    index_existing(Conversation, Message, SearchDocument)
    assert found(alice, "old ago") == ["Old"]
    assert SearchDocument.objects.count() == 2


@pytest.mark.parametrize("place", ["first", "middle", "last", "cut"])
def test_a_long_message_is_found_in_every_part(alice: User, place: str) -> None:
    words = LONG.split()
    at = {"first": 0, "middle": 20_000, "last": len(words), "cut": 7_999}[place]
    talk(alice, "Long", " ".join([*words[:at], "needle in hay", *words[at:]]))
    assert found(alice, '"needle in hay"') == ["Long"]
    (item,) = conversation_rows(alice, text="needle hay").items
    assert "needle in hay" in item.snippet


def test_a_deleted_conversation_is_not_found(shelf: None, alice: User) -> None:
    done = deletion.delete(alice, Conversation.objects.filter(title="Bread"))
    assert found(alice, "sourdough") == []
    assert done is not None
    (moment,) = Conversation.with_deleted.filter(title="Bread").values_list("deleted_at", flat=True)
    deletion.restore(alice, moment)
    assert found(alice, "sourdough") == ["Bread"]


def test_sidebar_and_history_understand_the_same(shelf: None, alice: User, client: Client) -> None:
    client.force_login(alice)
    for text in ("cafe", "model:other", "quick fox", "rating:down", "on:today", "state:odd", '"'):
        aside = client.get("/conversations/", {"q": text}).json()
        history = client.get("/history/", {"q": text}).context["found"]
        assert {item["id"] for item in aside["items"]} == {
            str(row.pk) for row in history.page.object_list
        }
        assert aside["problems"] == history.problems


def test_an_unknown_operator_is_named_and_looked_for(alice: User, client: Client) -> None:
    talk(alice, "Film", "rating: down by two")
    client.force_login(alice)
    reply = client.get("/conversations/", {"q": "Rating:down"}).json()
    assert "Unknown operator rating:" in reply["problems"][0]
    assert [item["title"] for item in reply["items"]] == ["Film"]


def test_the_hit_is_a_message_and_stands_at_the_snippets_start(alice: User, client: Client) -> None:
    conversation = talk(
        alice, "Bricks 🧱 needle", "word " * 200, "🙂 " * 90 + "the needle is here " + "x " * 90
    )
    client.force_login(alice)
    (item,) = client.get("/conversations/", {"q": "needle"}).json()["items"]
    assert item["hit"] == str(conversation.messages.get(role="assistant").pk)
    (start, end), *_ = item["snippet_marks"]
    assert start <= 22  # ten code points and the sign of the cut
    as_utf16 = item["snippet"].encode("utf-16-le")
    assert as_utf16[2 * start : 2 * end].decode("utf-16-le") == "needle"
    (start, end), *_ = item["title_marks"]
    assert (
        "Bricks 🧱 needle".encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le") == "needle"
    )


def test_the_message_with_all_words_is_the_hit(alice: User) -> None:
    conversation = talk(alice, "Zoo", "lions here", "lions and tigers", "tigers")
    (item,) = conversation_rows(alice, text="tigers lions").items
    assert item.hit == conversation.messages.get(text="lions and tigers").pk


def test_a_page_of_hits_takes_a_bounded_number_of_queries(
    alice: User, django_assert_max_num_queries: object
) -> None:
    for number in range(45):
        talk(alice, f"Talk {number}", "word here", "and word there")
    with django_assert_max_num_queries(6):  # type: ignore[operator]
        page = conversation_rows(alice, text="word there")
    assert len(page.items) == 40 and page.more


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
)


@given(st.lists(WORDS, min_size=1, max_size=8))
def test_every_word_of_a_text_is_marked_in_it(words: list[str]) -> None:
    text = " ".join(words)
    for word in words:
        term = Term.of(word, is_quoted=True)
        if term is not None:
            spans = spans_in(text, [term])
            assert spans, (text, word)
            assert all(0 <= start < end <= len(text) for start, end in spans)


@given(
    st.lists(
        st.sampled_from(["cafe", "cafe\u0301", "Café", "x", " ", "河", "\u0301", "é"]), max_size=12
    )
)
def test_a_word_is_marked_where_it_stands_whatever_is_written_around_it(parts: list[str]) -> None:
    """Beside plain letters, beside others, and with its accent written as a letter of its own."""
    text = " ".join(parts)
    term = Term.of("cafe", is_quoted=True)
    assert term is not None
    marked = [unicodedata.normalize("NFC", text[a:b]) for a, b in spans_in(text, [term])]
    # An accent that follows by itself belongs to the letter before it, be that a blank.
    assert all(fold(word) == "cafe" for word in marked)
    assert len(marked) == len(re.findall(r"(?<!\w)cafe(?!\w)", fold(text)))


@given(st.text(max_size=60))
def test_folding_is_the_same_for_all_ways_to_write_a_text(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert words_of(unicodedata.normalize(form, text)) == words_of(text)
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=300), WORDS)
def test_a_snippet_is_one_line_with_its_marks_inside(text: str, word: str) -> None:
    term = Term.of(word, is_quoted=False)
    part = snippet(f"{text} {word} {text}", [term] if term else [], chars=90, before=10)
    assert "\n" not in part.text
    assert all(0 <= start < end <= len(part.text) for start, end in part.marks)


@pytest.mark.django_db
def test_random_libraries_agree_with_a_plain_search(alice: User) -> None:
    """Two words in any order: what the index finds is what reading everything finds."""
    rng = random.Random(5)
    vocabulary = ["ember", "embers", "Émber", "lantern", "lant", "河川", "河", "owl"]
    texts: dict[str, str] = {}
    for number in range(60):
        text = " ".join(rng.choices(vocabulary, k=rng.randint(1, 4)))
        texts[f"t{number}"] = text
        talk(alice, f"t{number}", text)
    for first in vocabulary:
        for second in vocabulary:
            terms = [Term.of(word, is_quoted=False) for word in (first, second)]
            expected = sorted(
                title
                for title, text in texts.items()
                if all(term and spans_in(text, [term]) for term in terms)
            )
            assert found(alice, f"{first} {second}") == expected, (first, second)


def test_the_index_is_the_databases_own(db: None) -> None:
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
    assert "chat_searchdocument" in tables
    assert ("chat_searchindex" in tables) == (connection.vendor == "sqlite")
