"""The admin site. A signed-in person who isn't staff gets a 404 for every address below it."""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponseBase


class ChatsiteAdmin(admin.AdminSite):
    """Django's, without its sidebar and "View site": the site's own navigation is in the header.

    Somebody who hasn't signed in is sent to the sign-in page whatever the address, so that staff
    can come in; a signed-in person who isn't staff gets a 404 from an address that exists and from
    one that doesn't.
    """

    enable_nav_sidebar = False
    site_url = None

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Django's admin_view, which also lets those through who aren't signed in: they may be
        staff.
        """
        for_staff = super().admin_view(view, cacheable)

        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            hide_from_others(request)
            response: HttpResponseBase = for_staff(request, *args, **kwargs)
            return response

        return checked


def hide_from_others(request: HttpRequest) -> None:
    """Raises Http404 for a signed-in person who isn't staff."""
    user = request.user
    if not isinstance(user, AnonymousUser) and user.is_authenticated and not user.is_staff:
        raise Http404
