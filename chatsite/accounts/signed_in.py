"""The signed-in person as the site's User; Django types `request.user` as maybe anonymous."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from chatsite.accounts.models import User


def signed_in_user(request: HttpRequest) -> User:
    """The user of this request. For views behind `login_required` or in the admin.

    Raises PermissionDenied (403) when nobody is signed in, so that a view which forgot its
    decorator shows nothing.
    """
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user
