"""Pages come in the reader's language: the one that was chosen, else the first that is there."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from django.test import Client
from django.utils import translation

from chatsite import error_messages
from chatsite.accounts.models import User
from chatsite.asgi import application
from chatsite.catalog.models import SamplingPreset
from chatsite.catalog.seeded import shown
from chatsite.dashboards import figures
from chatsite.server.socket_language import language_of
from tests.support.sockets import frame_of, open_socket, sent

SIGN_IN = "/accounts/sign-in/"


def page(client: Client, **headers: str) -> str:
    return client.get(SIGN_IN, headers=headers).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("accepted", "language", "words"),
    [
        ("", "en", "Sign in"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt-br", "Entrar"),
        ("pt-PT,pt;q=0.9", "pt-br", "Entrar"),
        ("pt", "pt-br", "Entrar"),
        ("de-DE,de;q=0.9,pt;q=0.5,en;q=0.3", "pt-br", "Entrar"),
        ("de-DE,de;q=0.9", "en", "Sign in"),
        ("en-GB,pt-BR;q=0.5", "en", "Sign in"),
    ],
)
def test_the_browser_says_what_its_reader_understands(
    client: Client, accepted: str, language: str, words: str
) -> None:
    response = client.get(SIGN_IN, headers={"accept-language": accepted})
    text = response.content.decode()
    assert f'<html lang="{language}">' in text
    assert f"<h1>{words}</h1>" in text
    assert response.headers["Content-Language"] == language
    assert "Accept-Language" in response.headers["Vary"]
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.django_db
def test_a_choice_wins_over_the_browser_and_stays(client: Client) -> None:
    came_from = {"referer": f"http://testserver{SIGN_IN}?next=/history/"}
    chosen = client.post("/language/", {"language": "pt-br"}, headers=came_from)
    assert chosen.headers["Location"] == came_from["referer"]
    cookie = client.cookies["language"]
    assert cookie["max-age"] >= 180 * 86_400 and cookie["httponly"] and cookie["samesite"] == "Lax"
    assert "<h1>Entrar</h1>" in page(client, **{"accept-language": "en-GB"})
    client.post("/language/", {"language": "en"}, headers=came_from)
    assert "<h1>Sign in</h1>" in page(client, **{"accept-language": "pt-BR"})


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["de", "xx", "", "../../etc"])
def test_a_language_that_is_not_there_changes_nothing(client: Client, language: str) -> None:
    client.post("/language/", {"language": language})
    assert "<h1>Sign in</h1>" in page(client)


@pytest.mark.django_db
def test_choosing_leads_to_no_other_site(client: Client) -> None:
    asked = {"language": "pt-br", "next": "https://evil.example/"}
    response = client.post("/language/", asked, headers={"referer": "https://evil.example/"})
    assert response.headers["Location"] == "/"


@pytest.mark.django_db
def test_every_way_in_offers_both_languages_by_their_own_names(client: Client) -> None:
    for path in (SIGN_IN, "/accounts/sign-up/"):
        text = client.get(path).content.decode()
        assert 'value="en" lang="en" aria-current="true">English<' in text
        assert 'value="pt-br" lang="pt-br">Português Brasileiro<' in text


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_programs_read_english_whatever_they_accept(live_redis: Any) -> None:
    headers = {"accept-language": "pt-BR", "authorization": "Bearer none"}
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as program:
        response = await program.get("/v1/models", headers=headers)
    assert response.status_code == 401
    assert "Incorrect API key" in response.json()["error"]["message"]


@pytest.mark.asyncio
@pytest.mark.usefixtures("sockets")
@pytest.mark.django_db(transaction=True)
async def test_a_socket_refuses_in_its_pages_language() -> None:
    alice = await User.objects.acreate(username="alice")
    brazilian = await open_socket(alice, language="pt-BR,pt;q=0.9")
    british = await open_socket(alice, language="en-GB")
    for socket, sentence in (
        (brazilian, "Escreva algo primeiro."),
        (british, "Write something first."),
        (brazilian, "Escreva algo primeiro."),
    ):
        await socket.send_to(text_data=sent("  "))
        assert (await frame_of(socket, "error"))["text"] == sentence
    for socket in (brazilian, british):
        await socket.disconnect()


def test_a_choice_holds_for_sockets_too() -> None:
    headers = [(b"accept-language", b"pt-BR")]
    assert language_of({"headers": headers}) == "pt-br"
    assert language_of({"headers": headers, "cookies": {"language": "en"}}) == "en"
    assert language_of({"headers": [(b"accept-language", b"\xff;;q=x")]}) == "en"


def test_figures_dates_and_sentences_follow_the_language() -> None:
    with translation.override("pt-br"):
        assert figures.ms(4_694_400) == "4.694 ms"
        assert figures.percent(0.0123) == "1,2 %"
        assert figures.how_often(2 / 86_400) == "2,0 por dia"
        assert error_messages.error_sentence("busy").startswith("Uma resposta ainda")
        assert error_messages.error_sentence("new_one") == "Algo deu errado (new_one)."


@pytest.mark.django_db
def test_presets_of_a_new_site_are_translated_and_ones_own_are_not() -> None:
    own = SamplingPreset(slug=uuid.uuid4().hex, name="Zwölf", description="")
    with translation.override("pt-br"):
        assert [shown(text) for text in ("Balanced", own.name, own.description)] == [
            "Equilibrado",
            "Zwölf",
            "",
        ]
