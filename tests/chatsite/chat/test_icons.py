"""The icons of the chat's page."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.template import Context, Template, TemplateSyntaxError
from django.template.loader import get_template
from django.templatetags.static import static

from chatsite.chat.templatetags.icons import drawn_icons

TEMPLATES = Path(settings.BASE_DIR, "templates")


def test_an_icon_points_at_its_drawing() -> None:
    html = Template('{% load icons %}{% icon "send" %}').render(Context())
    use = f'<use href="{static("icons.svg")}#send"/>'
    assert html == f'<svg class="icon" aria-hidden="true">{use}</svg>'


def test_an_icon_that_is_not_drawn_is_refused() -> None:
    assert len(drawn_icons()) > 15
    with pytest.raises(TemplateSyntaxError, match="has no icon"):
        Template('{% load icons %}{% icon "no-such" %}')


@pytest.mark.parametrize(
    "name", sorted(str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.html"))
)
def test_every_template_compiles(name: str) -> None:
    get_template(name)
