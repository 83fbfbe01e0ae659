"""Views to sign in, to sign up and to change the password. Sign-out is Django's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_lockout_response
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.signals import user_login_failed
from django.contrib.auth.views import LoginView, PasswordChangeView, redirect_to_login
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from chatsite.accounts import invitations
from chatsite.accounts.models import User

BACKEND = "django.contrib.auth.backends.ModelBackend"


if TYPE_CHECKING:
    AccountFormBase = UserCreationForm[User]
else:
    AccountFormBase = UserCreationForm


class AccountForm(AccountFormBase):
    """Name and password of a new person."""

    class Meta:
        model = User
        fields = ("username",)


class SignIn(LoginView):
    """Django's view with our page, which offers sign-up only where anybody may."""

    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(may_sign_up=settings.SIGN_UP == "open", **kwargs)


class ChangePassword(PasswordChangeView):
    """Django's view; each wrong old password counts as a failed sign-in of that person."""

    template_name = "accounts/password.html"
    success_url = reverse_lazy("accounts:password-changed")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        credentials = self._credentials()
        if not AxesProxyHandler.is_allowed(request, credentials):
            paused: HttpResponse = get_lockout_response(request, HttpResponse(), credentials)
            return paused
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: Any) -> HttpResponse:
        if "old_password" in form.errors:
            user_login_failed.send(__name__, credentials=self._credentials(), request=self.request)
        return super().form_invalid(form)

    def _credentials(self) -> dict[str, Any]:
        return {"username": self.request.user.get_username()}


def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """Send the admin's sign-in to the site's own page; 404 for who is signed in and not staff."""
    if request.user.is_authenticated and not request.user.is_staff:
        raise Http404
    return redirect_to_login(request.GET.get("next") or "/admin/")


@sensitive_post_parameters()
@never_cache
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make an account when SIGN_UP is open; else 403 with a sentence about invitations."""
    if settings.SIGN_UP != "open":
        text = (
            _("This site takes people by invitation. Ask an administrator for a link.")
            if settings.SIGN_UP == "invitation"
            else _("This site takes no new people.")
        )
        return render(request, "accounts/closed.html", {"text": text}, status=403)
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return _welcome(request, form.save())
        except IntegrityError:
            form.add_error("username", _just_taken())
    return render(request, "accounts/sign_up.html", {"form": form, "invitation": None})


@sensitive_post_parameters()
@never_cache
def accept_invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """Make an account by a one-time link, also when sign-up is closed."""
    invitation = invitations.find_open(secret)
    gone = _("This link was used already, or it is too old. Ask for a new one.")
    if invitation is None:
        return render(request, "accounts/closed.html", {"text": gone}, status=410)
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = form.save(commit=False)
        try:
            if not invitations.redeem(secret, user):
                return render(request, "accounts/closed.html", {"text": gone}, status=410)
            return _welcome(request, user)
        except IntegrityError:  # the invitation is as good as before
            form.add_error("username", _just_taken())
    return render(request, "accounts/sign_up.html", {"form": form, "invitation": invitation})


def _welcome(request: HttpRequest, user: User) -> HttpResponse:
    login(request, user, backend=BACKEND)
    return redirect(settings.LOGIN_REDIRECT_URL)


def _just_taken() -> str:
    return _("Somebody took this name a moment ago. Choose another one.")
