"""History: one's own conversations found, renamed, deleted; somebody else's never seen."""

from __future__ import annotations

import datetime as dt
import random
import re
import uuid
from html import unescape

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from chatsite.chat import deletion
from chatsite.chat.models import Conversation, Message
from chatsite.chat.search_query import MAX_TERMS, parse
from chatsite.chat.search_text import Term, snippet
from chatsite.dashboards.history.table import marked
from tests.chatsite.dashboards import rows

URL = "/history/"


def talk(owner, title: str, *answers: str, seed: int = 1, ago_days: float = 0, **figures):
    """A conversation with one question, and an answer with figures for each of `answers`."""
    at = timezone.now() - dt.timedelta(days=ago_days)
    state = figures.pop("state", "stop")
    model, preset = figures.pop("model", "smollm2-135m-instruct"), figures.pop("preset", "balanced")
    conversation = Conversation.objects.create(
        owner=owner, title=title, model_slug=model, preset_slug=preset, updated_at=at, created_at=at
    )
    Message.objects.create(conversation=conversation, role="user", text=f"About {title}?",
                           author=owner, created_at=at)  # fmt: skip
    rng = random.Random(f"{title}{seed}")
    for text in answers:
        generation = rows.generation(rng, user=owner, subject=uuid.uuid4(), **figures)
        generation.save(force_insert=True)
        Message.objects.create(
            id=generation.subject, conversation=conversation, role="assistant", text=text,
            author=owner, request_id=generation.pk, model_slug=model, preset_slug=preset,
            finish_reason=state, created_at=at,
        )  # fmt: skip
    return conversation


def titles(response) -> list[str]:
    return [row.title for row in response.context["found"].page]


@pytest.fixture
def library(alice, bob):
    talk(alice, "Lentil soup", "Boil the lentils gently.", ago_days=1, tokens=50)
    talk(alice, "Blue skies", "Rayleigh scattering.", ago_days=40, preset="precise",
         tokens=300)  # fmt: skip
    talk(alice, "A failure", "", ago_days=3, state="failed", model="other", tokens=60)
    talk(bob, "Bob's lentils", "Bob's secret recipe.")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["Lentil soup", "A failure", "Blue skies"]),
        ("q=lentil", ["Lentil soup"]),
        ("q=RAYLEIGH", ["Blue skies"]),
        ("q=boil+gently", ["Lentil soup"]),
        ("q=%22gently+boil%22", []),
        ("q=%22lentils+gently%22", ["Lentil soup"]),
        ("q=state:failed", ["A failure"]),
        ("q=model:other", ["A failure"]),
        ("q=preset:precise", ["Blue skies"]),
        ("q=tokens:>250", ["Blue skies"]),
        ("q=tokens:<1", []),
        ("q=ttft:>0.001ms+state:stop", ["Lentil soup", "Blue skies"]),
        ("q=ttft:>900s", []),
        ("q=about+state:stop", ["Lentil soup", "Blue skies"]),
        ("q=note:lentil", []),
        ("q=%25", []),
        ("q=_", []),
        ("state=failed", ["A failure"]),
        ("model=other", ["A failure"]),
        ("preset=precise&q=sky", []),
        ("sort=title", ["A failure", "Blue skies", "Lentil soup"]),
        ("sort=-title", ["Lentil soup", "Blue skies", "A failure"]),
        ("sort=-tokens", ["Blue skies"]),
        ("sort=owner__password", ["Lentil soup", "A failure", "Blue skies"]),
        ("page=99", ["Lentil soup", "A failure", "Blue skies"]),
    ],
)
def test_alice_finds_her_own(library, alice, signed_in, query, expected):
    found = titles(signed_in(alice).get(f"{URL}?{query}"))
    assert found[: len(expected)] == expected
    if query != "sort=-tokens":
        assert len(found) == len(expected)


def test_dates_narrow(library, alice, signed_in):
    day = (timezone.now() - dt.timedelta(days=3)).date()
    client = signed_in(alice)
    assert titles(client.get(f"{URL}?after={day}")) == ["Lentil soup", "A failure"]
    assert titles(client.get(f"{URL}?before={day}")) == ["A failure", "Blue skies"]
    assert titles(client.get(f"{URL}?q=after:{day}")) == ["Lentil soup", "A failure"]
    assert titles(client.get(f"{URL}?q=on:{day}")) == ["A failure"]
    day_after = day + dt.timedelta(days=1)
    assert titles(client.get(f"{URL}?q=after:{day}+before:{day_after}")) == ["A failure"]
    assert titles(client.get(f"{URL}?q=before:{day}")) == ["Blue skies"]


def test_somebody_elses_rows_never_appear(library, alice, bob, signed_in):
    page = signed_in(alice).get(f"{URL}?q=recipe").content.decode()
    assert "secret" not in page.replace("recipe", "")
    assert titles(signed_in(bob).get(URL)) == ["Bob's lentils"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("state:odd", "state: is one of"),
        ("before:tomorrow", "Dates are written"),
        ("on:9999-12-31", "Dates are written"),
        ("rating:down", "Unknown operator rating:"),
        ("tag:work", "Unknown operator tag:"),
        ("%", "no letter and no digit"),
        ("ttft:fast", "compared with a time"),
        ("tokens:1.5", "whole number"),
        ("tokens:2s", "whole number"),
        ("a " * 40, "first 12 words"),
    ],
)
def test_what_cannot_be_understood_is_told(alice, signed_in, query, told):
    page = signed_in(alice).get(URL, {"q": query})
    assert page.status_code == 200
    assert told in page.content.decode()


@given(st.text(max_size=200))
def test_any_search_text_is_understood_or_told(text):
    understood = parse(text)
    assert len(understood.terms) + len(understood.wheres) <= MAX_TERMS


@pytest.mark.parametrize(
    "text", ["\0", "a\0b", '"', '""', ":", "state:", "🦉", "ＦＵＬＬ", "'; --"]
)
def test_odd_search_text_does_no_harm(library, alice, signed_in, text):
    assert signed_in(alice).get(URL, {"q": text}).status_code == 200


def test_a_snippet_marks_the_hit_and_escapes_the_rest(alice, signed_in):
    talk(alice, "Tags", "x" * 300 + " <script>alert(1)</script> needle & thread")
    page = signed_in(alice).get(f"{URL}?q=needle").content.decode()
    assert "<mark>needle</mark> &amp; thread" in page
    assert "<script>alert" not in page


@given(st.text(max_size=300), st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3))
def test_marking_changes_nothing_but_the_marks(text, words):
    terms = [term for word in words if (term := Term.of(word, is_quoted=False))]
    part = snippet(text, terms, chars=140, before=30)
    shown = marked(part.text, part.marks)
    assert "<" not in re.sub(r"</?mark>", "", shown)
    assert unescape(re.sub(r"</?mark>", "", shown)) == part.text


def test_alice_renames_her_own_and_not_bobs(library, alice, bob, signed_in):
    own = Conversation.objects.get(title="Lentil soup")
    bobs = Conversation.objects.get(owner=bob)
    client = signed_in(alice)
    client.post(f"{URL}{own.pk}/rename/", {"title": "Soup", "next": f"{URL}?q=soup"})
    own.refresh_from_db()
    assert own.title == "Soup"
    unknown = client.post(f"{URL}{uuid.uuid4()}/rename/", {"title": "Mine"})
    refused = client.post(f"{URL}{bobs.pk}/rename/", {"title": "Mine"})
    assert (refused.status_code, unknown.status_code) == (404, 404)
    bobs.refresh_from_db()
    assert bobs.title == "Bob's lentils"


def test_a_bad_title_is_told_and_changes_nothing(library, alice, signed_in):
    own = Conversation.objects.get(title="Lentil soup")
    for title in ("", "   ", "x" * 500):
        page = signed_in(alice).post(f"{URL}{own.pk}/rename/", {"title": title}, follow=True)
        assert "error" in page.content.decode()
        own.refresh_from_db()
        assert own.title == "Lentil soup"


def test_alice_deletes_one_and_many(library, alice, signed_in):
    client = signed_in(alice)
    chosen = list(Conversation.objects.filter(owner=alice).values_list("pk", flat=True))
    client.post(f"{URL}delete/", {"conversation": chosen[:1]})
    assert Conversation.objects.filter(owner=alice).count() == 2
    client.post(f"{URL}delete/", {"conversation": chosen[1:]})
    assert not Conversation.objects.filter(owner=alice).exists()


def test_what_was_deleted_together_comes_back_together_and_one_stays_where_one_was(
    library, alice, signed_in
):
    client = signed_in(alice)
    chosen = list(Conversation.objects.filter(owner=alice).values_list("pk", flat=True))
    at_page = f"{URL}?sort=title"
    client.post(f"{URL}delete/", {"conversation": chosen[:2], "next": at_page})
    page = client.get(at_page)
    assert "Deleted 2 conversations" in page.content.decode()
    moment = page.context["deletion"].at
    undone = client.post(f"{URL}restore/", {"at": moment, "next": at_page})
    assert undone["Location"] == at_page
    assert len(titles(client.get(URL))) == 3
    assert "history-undo" not in client.get(URL).content.decode()


def test_all_that_match_are_deleted_and_nothing_else(alice, bob, signed_in):
    for i in range(30):
        talk(alice, f"Lentils {i}", "Boil them.")
    talk(alice, "Blue skies", "Rayleigh scattering.")
    talk(bob, "Bob's lentils", "Secret.")
    client = signed_in(alice)
    assert "all 30 that match" in client.get(f"{URL}?q=lentil").content.decode()
    client.post(f"{URL}delete/", {"all": "1", "query": "q=lentil"})
    assert titles(client.get(URL)) == ["Blue skies"]
    assert Conversation.objects.filter(owner=bob).count() == 1
    client.post(f"{URL}restore/", {"at": client.get(URL).context["deletion"].at})
    assert len(titles(client.get(f"{URL}?q=lentil"))) == 25


def test_bob_cannot_restore_what_alice_deleted(library, alice, bob, signed_in):
    deletion.delete(alice, Conversation.objects.filter(owner=alice))
    moment = signed_in(alice).get(URL).context["deletion"].at
    assert signed_in(bob).get(URL).context["deletion"] is None
    signed_in(bob).post(f"{URL}restore/", {"at": moment})
    assert not Conversation.objects.filter(owner=alice).exists()
    assert signed_in(bob).post(f"{URL}restore/", {"at": "soon"}).status_code == 404


def test_a_hit_leads_to_its_message(alice, signed_in):
    talk(alice, "Walls", "A wall is built.", "Mortar holds it.")
    page = signed_in(alice).get(f"{URL}?q=mortar").content.decode()
    message = Message.objects.get(text__startswith="Mortar")
    assert f"#message={message.pk}&amp;words=mortar" in page


def test_deleting_bobs_among_ones_own_touches_nothing(library, alice, bob, signed_in):
    everything = list(Conversation.objects.values_list("pk", flat=True))
    response = signed_in(alice).post(f"{URL}delete/", {"conversation": everything})
    assert response.status_code == 404
    assert Conversation.objects.count() == len(everything)


@pytest.mark.parametrize("chosen", ["not-a-uuid", ""])
def test_an_odd_choice_deletes_nothing(library, alice, signed_in, chosen):
    before = Conversation.objects.count()
    signed_in(alice).post(f"{URL}delete/", {"conversation": chosen} if chosen else {})
    assert Conversation.objects.count() == before


@pytest.mark.parametrize("target", ["//evil.example/", "https://evil.example/", "/admin/", ""])
def test_after_an_action_one_lands_in_the_history_and_nowhere_else(alice, signed_in, target):
    response = signed_in(alice).post(f"{URL}delete/", {"next": target})
    assert response["Location"] == URL


@pytest.mark.parametrize("query", ["after=0001-01-01", "before=9999-12-31"])
def test_the_calendar_may_end(alice, signed_in, query):
    talk(alice, "Tides", "The moon pulls.")
    assert b"Tides" in signed_in(alice).get(f"{URL}?{query}").content


def test_it_wants_a_person_a_token_and_the_right_verb(alice, signed_in, client):
    from django.test import Client

    assert client.get(URL).status_code == 302
    assert client.post(f"{URL}delete/").status_code == 302
    assert signed_in(alice).post(URL).status_code == 405
    assert signed_in(alice).get(f"{URL}delete/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post(f"{URL}delete/").status_code == 403


def test_pages_and_queries_are_bounded(alice, signed_in, django_assert_max_num_queries):
    for i in range(30):
        talk(alice, f"Talk {i}", "word here", "and word there", ago_days=i)
    client = signed_in(alice)
    with django_assert_max_num_queries(10):
        first = client.get(f"{URL}?q=word")
    assert len(titles(first)) == 25
    assert titles(client.get(f"{URL}?q=word&page=2"))[-1] == "Talk 29"


@pytest.mark.parametrize("sort", ["updated", "-title", "messages", "-tokens", "ttft"])
def test_pages_hold_each_row_once_in_any_order(alice, signed_in, sort):
    for i in range(30):
        talk(alice, f"Talk {i}", *["word"] * (1 + i % 3), ago_days=i)
    client = signed_in(alice)
    both = [client.get(f"{URL}?sort={sort}&page={page}") for page in (1, 2)]
    assert [len(titles(page)) for page in both] == [25, 5]
    assert len({title for page in both for title in titles(page)}) == 30
    assert both[0].context["found"].page.paginator.count == 30


@pytest.mark.parametrize(
    ("page", "shown"), [("0", 1), ("-1", 1), ("x", 1), ("²", 1), ("3", 2), ("9" * 40, 2)]
)
def test_a_page_that_is_not_there_is_the_nearest_one(alice, signed_in, page, shown):
    for i in range(30):
        talk(alice, f"Talk {i}", "word", ago_days=i)
    assert signed_in(alice).get(f"{URL}?page={page}").context["found"].page.number == shown
