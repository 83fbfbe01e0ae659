"""One's own API keys, in the settings: make, see once, revoke."""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote, unquote

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from chatsite.accounts.signed_in import signed_in_user
from chatsite.api.access.api_keys import make_key, revoke_key
from chatsite.api.models import ApiKey
from chatsite.catalog.models import LanguageModel
from chatsite.errors import ChatError, NotFound

MADE_COOKIE = "made-key"
MADE_S = 60


def _enabled_models() -> list[tuple[str, str]]:
    return list(LanguageModel.objects.filter(is_enabled=True).values_list("slug", "name"))


class KeyForm(forms.Form):
    """What a new key may do, and for how long."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=100, help_text=gettext_lazy("What the key is for.")
    )
    models = forms.MultipleChoiceField(
        label=gettext_lazy("Models"),
        required=False,
        choices=_enabled_models,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None ticked: every model."),
    )
    is_read_only = forms.BooleanField(
        label=gettext_lazy("Read only"),
        required=False,
        help_text=gettext_lazy("May list models and count tokens, but not generate."),
    )
    days = forms.IntegerField(
        label=gettext_lazy("Days until it expires"),
        required=False,
        min_value=1,
        max_value=3650,
        help_text=gettext_lazy("1 to 3650. Empty: never."),
    )
    requests_per_minute = forms.IntegerField(
        label=gettext_lazy("Requests per minute"),
        required=False,
        min_value=1,
        max_value=1_000_000,
        help_text=gettext_lazy("1 to 1,000,000. Empty: no limit."),
    )
    tokens_per_day = forms.IntegerField(
        label=gettext_lazy("Tokens per day"),
        required=False,
        min_value=1,
        max_value=10**12,
        help_text=gettext_lazy("Prompt and answer together, from midnight UTC. Empty: no limit."),
    )


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def keys(request: HttpRequest) -> HttpResponse:
    """The person's keys (GET), or one more of them (POST)."""
    form = KeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        expires = timezone.now() + dt.timedelta(days=data["days"]) if data["days"] else None
        try:
            made, secret = make_key(
                signed_in_user(request),
                name=data["name"],
                model_slugs=data["models"],
                is_read_only=data["is_read_only"],
                expires_at=expires,
                requests_per_minute=data["requests_per_minute"],
                tokens_per_day=data["tokens_per_day"],
            )
        except ChatError as error:
            form.add_error(None, error.text)
        else:
            return _shown_once(request, made, secret)
    if request.method == "POST":
        return _page(request, form, status=400)
    name, _colon, secret = _secret_cookie(request).rpartition(":")
    response = _page(request, form, made_name=name, secret=secret)
    response.delete_cookie(MADE_COOKIE, path=reverse("keys:list"))
    return response


def _shown_once(request: HttpRequest, made: ApiKey, secret: str) -> HttpResponse:
    """Lead to the list, which shows the secret: a reload there makes no second key.

    It travels in the reader's own cookie, for a minute and for that page alone: the site stores
    no secret, not even in a session.
    """
    response = redirect("keys:list")
    response.set_signed_cookie(
        MADE_COOKIE,
        quote(f"{made.name}:{secret}"),
        salt=_salt(request),
        max_age=MADE_S,
        path=reverse("keys:list"),
        secure=request.is_secure(),
        httponly=True,
        samesite="Strict",
    )
    return response


def _secret_cookie(request: HttpRequest) -> str:
    kept = request.get_signed_cookie(MADE_COOKIE, "", salt=_salt(request), max_age=MADE_S)
    return unquote(kept or "")


def _salt(request: HttpRequest) -> str:
    return f"{MADE_COOKIE}:{signed_in_user(request).pk}"


@require_POST
@login_required
def revoke(request: HttpRequest, key_id: int) -> HttpResponse:
    """Revoke a key of the person; 404 for anybody else's."""
    try:
        revoke_key(signed_in_user(request), key_id)
    except NotFound:
        return render(request, "404.html", status=404)
    return redirect("keys:list")


def _page(
    request: HttpRequest, form: KeyForm, *, status: int = 200, **more: object
) -> HttpResponse:
    context = {
        "title": _("API keys"),
        "form": form,
        "keys": ApiKey.objects.filter(owner=signed_in_user(request)),
        "base_url": request.build_absolute_uri("/v1"),
        **more,
    }
    return render(request, "api/keys.html", context, status=status)


app_name = "keys"
urlpatterns = [
    path("", keys, name="list"),
    path("<int:key_id>/revoke/", revoke, name="revoke"),
]
