"""The icons of the chat's page."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings
from django.template import Context, Template


def test_an_icon_points_at_its_drawing() -> None:
    html = Template('{% load icons %}{% icon "send" %}').render(Context())
    assert re.fullmatch(
        r'<svg class="icon" aria-hidden="true"><use href="/static/icons\S*\.svg#send"/></svg>', html
    )


def test_every_icon_that_a_template_asks_for_is_drawn() -> None:
    drawn = re.findall(r'id="(\w+)"', Path(settings.BASE_DIR, "static/icons.svg").read_text())
    templates = Path(settings.BASE_DIR, "templates").rglob("*.html")
    asked = {name for t in templates for name in re.findall(r'\{% icon "(\w+)" %\}', t.read_text())}
    assert len(asked) > 15
    assert asked <= set(drawn)
