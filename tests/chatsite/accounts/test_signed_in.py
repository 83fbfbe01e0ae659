"""signed_in_user: a view that forgot its decorator shows nothing."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory

from chatsite.accounts.models import User
from chatsite.accounts.signed_in import signed_in_user


def test_nobody_is_refused(rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()
    with pytest.raises(PermissionDenied):
        signed_in_user(request)


@pytest.mark.django_db
def test_a_person_is_given_as_the_sites_user(rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = alice = User.objects.create_user("alice")
    assert signed_in_user(request) is alice
