"""Static files: names that hold their content's hash, kept for ever, compressed, asked for at once."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from django.conf import settings
from django.templatetags.static import static
from django.test import Client

from chatsite.accounts.models import User
from chatsite.server.static_files import brotli, files, module_graph

FOREVER = "immutable"


def body(response: object) -> bytes:
    return b"".join(response.streaming_content)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["css/base.css", "js/chat/main.js", "admin/css/base.css", "icon.svg"]
)
def test_a_hashed_name_is_kept_for_ever_and_a_plain_one_is_not(client: Client, name: str) -> None:
    url = static(name)
    assert re.fullmatch(rf"/static/{name.rsplit('.', 1)[0]}\.[0-9a-f]{{12}}\.\w+", url)
    kept = client.get(url)
    assert kept.status_code == 200
    assert FOREVER in kept["Cache-Control"]
    plain = client.get(f"/static/{name}")
    assert plain.status_code == 200
    assert FOREVER not in plain["Cache-Control"]


def test_a_style_sheet_points_to_hashed_names(client: Client) -> None:
    sheet = body(client.get(static("admin/css/base.css"))).decode()
    references = re.findall(r'url\("?([^")]+\.(?:svg|css))"?\)', sheet)
    assert references
    for reference in references:
        assert re.search(r"\.[0-9a-f]{12}\.(svg|css)$", reference), reference
        url = f"/static/admin/css/{reference}"
        assert client.get(re.sub(r"[^/]+/\.\./", "", url)).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_a_file_comes_compressed_to_those_who_take_it(client: Client, encoding: str) -> None:
    if encoding == "br" and brotli is None:
        pytest.skip("Brotli isn't installed")
    url = static("js/chat/composer.js")
    whole = body(client.get(url))
    reply = client.get(url, headers={"Accept-Encoding": encoding})
    assert reply["Content-Encoding"] == encoding
    packed = body(reply)
    unpacked = gzip.decompress(packed) if encoding == "gzip" else brotli.decompress(packed)
    assert unpacked == whole
    assert len(packed) < len(whole) / 2
    assert reply["Vary"] == "Accept-Encoding"


@pytest.fixture
def chat_page(client: Client, alice: User, catalog: object) -> tuple[str, str]:
    """The chat's page and its policy."""
    client.force_login(alice)
    response = client.get("/")
    return response.content.decode(), response["Content-Security-Policy"]


def test_every_module_is_asked_for_at_once_under_its_hashed_name(
    chat_page: tuple[str, str], client: Client
) -> None:
    page, _policy = chat_page
    preloads = re.findall(r'<link rel="modulepreload" href="([^"]+)">', page)
    assert preloads == [static(name) for name in module_graph("js/chat/main.js").preloaded]
    (found,) = re.findall(r'<script type="importmap" nonce="[^"]+">(.*?)</script>', page)
    imports = json.loads(found)["imports"]
    for name in module_graph("js/chat/main.js").reached:
        assert imports[f"/static/{name}"] == static(name)
    assert set(preloads) <= set(imports.values())
    assert page.index("importmap") < page.index('type="module"')
    assert page.index("importmap") < page.index("modulepreload")
    assert "/static/vendor/katex/katex.min.js" in imports  # loaded when there is a formula
    assert static("vendor/katex/katex.min.js") not in preloads


def test_the_policy_takes_the_import_map_by_its_nonce_and_nothing_else_inline(
    chat_page: tuple[str, str],
) -> None:
    page, policy = chat_page
    (nonce,) = re.findall(r'<script type="importmap" nonce="([^"]+)"', page)
    assert f"script-src 'self' 'nonce-{nonce}'" in policy
    assert "unsafe" not in policy


def test_a_page_without_modules_has_no_nonce(client: Client, db: None) -> None:
    policy = client.get("/accounts/sign-in/")["Content-Security-Policy"]
    assert "script-src 'self';" in policy + ";"
    assert "nonce" not in policy


def test_every_import_of_every_module_is_known() -> None:
    """What a module imports is a file, so that the map leads each of them on."""
    for name in files():
        if name.startswith("js/") and name.endswith(".js"):
            for reached in module_graph(name).reached:
                assert reached in files(), (name, reached)


def test_while_files_change_names_stay_plain(settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]
    assert static("css/base.css") == "/static/css/base.css"


def test_copies_are_written_once_per_content() -> None:
    for file in files().values():
        if file.content is not None:
            assert file.cached.read_bytes() == file.content
    assert settings.STATIC_CACHE.is_dir()
