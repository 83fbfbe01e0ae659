"""What the site tells browsers, and what it makes of its environment."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
ASK = "import json; from django.conf import settings as s; print(json.dumps({names}))"


def settings_with(*names: str, **environment: str) -> dict[str, Any]:
    """Some settings as a new process reads them."""
    pairs = ", ".join(f"{name!r}: s.{name}" for name in names)
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(names="{" + pairs + "}")],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "chatsite.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", ["/accounts/sign-in/", "/no/such/page/", "/healthz"])
def test_every_page_forbids_foreign_and_inline_code(client: Client, db: None, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(client: Client, db: None) -> None:
    client.get("/accounts/sign-in/")
    assert client.cookies["csrftoken"]["samesite"] == "Lax"
    chosen = settings_with("SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SECURE", "DEBUG")
    assert chosen == {
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SECURE": False,
        "DEBUG": False,
    }


def test_behind_tls_cookies_stay_there_and_browsers_come_back_by_it() -> None:
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT")
    chosen = settings_with(*names, "SECURE_HSTS_SECONDS", BEHIND_TLS="1")
    assert chosen == dict.fromkeys(names, True) | {"SECURE_HSTS_SECONDS": 31_536_000}


@pytest.mark.parametrize(("given", "chosen"), [("", False), ("1", True)])
def test_hosts_below_the_site_are_held_to_tls_only_where_that_is_said(given, chosen) -> None:
    name = "SECURE_HSTS_INCLUDE_SUBDOMAINS"
    assert settings_with(name, BEHIND_TLS="1", HSTS_INCLUDE_SUBDOMAINS=given) == {name: chosen}


def test_a_host_that_is_not_ours_is_refused(client: Client, db: None) -> None:
    assert client.get("/accounts/sign-in/", headers={"Host": "evil.example"}).status_code == 400


def test_an_error_shows_our_page_and_nothing_of_the_code(
    client: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("chatsite.accounts.views.SignIn.get_context_data", break_down)
    client.raise_request_exception = False
    answer = client.get("/accounts/sign-in/")
    assert answer.status_code == 500
    assert "Something went wrong" in answer.content.decode()
    assert "secret detail" not in answer.content.decode()


def test_the_secret_key_is_made_once_however_many_start_at_once(tmp_path: Path) -> None:
    def key(_: int) -> str:
        return settings_with("SECRET_KEY", CHATSITE_DATA=str(tmp_path / "data"))["SECRET_KEY"]

    with ThreadPoolExecutor(4) as starts:
        keys = set(starts.map(key, range(4)))
    assert len(keys) == 1
    assert len(keys.pop()) >= 50
    file = tmp_path / "data" / "secret_key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in file.parent.iterdir()] == ["secret_key"]


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("MAX_CONCURRENT_ANSWERS", "0", "MAX_CONCURRENT_ANSWERS must be a whole number from 1 on"),
        ("SIGN_IN_TRIES", "many", "SIGN_IN_TRIES must be a whole number from 1 on, not 'many'"),
        ("SIGN_UP", "maybe", "SIGN_UP must be one of open, invitation, closed, not 'maybe'"),
        ("BEHIND_TLS", "perhaps", "BEHIND_TLS must be 1 or 0, not 'perhaps'"),
        ("DATABASE_URL", "nonsense", "DATABASE_URL"),
    ],
)
def test_a_wrong_variable_is_named_in_one_line(variable: str, value: str, sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=os.environ | {variable: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
