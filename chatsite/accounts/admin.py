"""People and invitations in the admin.

Only an administrator makes administrators: other staff may look after people, but can give nobody
more rights, and can't touch an administrator's account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chatsite.accounts import invitations
from chatsite.accounts.models import Invitation, User
from chatsite.accounts.signed_in import signed_in_user

if TYPE_CHECKING:  # generic to the type checker alone
    UserAdminBase = UserAdmin[User]
    InvitationAdminBase = admin.ModelAdmin[Invitation]
    InvitationForm = ModelForm[Invitation]
else:
    UserAdminBase = UserAdmin
    InvitationAdminBase, InvitationForm = admin.ModelAdmin, ModelForm

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class PeopleAdmin(UserAdminBase):
    """Django's admin of users, in which only administrators change rights."""

    list_display = ("username", "is_active", "is_staff", "last_login", "date_joined")

    def get_readonly_fields(
        self, request: HttpRequest, obj: User | None = None
    ) -> list[str] | tuple[str, ...]:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Let a person be deleted with all rows that belong to them, which staff may not change
        otherwise.

        They are counted, not listed: titles of conversations are private.
        """
        _listed, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        people = User._meta.verbose_name
        return [str(person) for person in objs], counts, forbidden & {people}, protected


def _may_touch(request: HttpRequest, person: User | None) -> bool:
    return person is None or not person.is_superuser or request.user.is_superuser


@admin.register(Invitation)
class InvitationAdmin(InvitationAdminBase):
    """Made here; the link is shown once, in the message after saving."""

    list_display = (
        "__str__",
        "makes_administrator",
        "created_by",
        "created_at",
        "expires_at",
        "used_by",
    )
    list_filter = ("makes_administrator", "used_at")
    search_fields = ("note", "used_by__username")
    fields = ("note", "makes_administrator")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Invitation | None = None
    ) -> tuple[str, ...]:
        return () if request.user.is_superuser else ("makes_administrator",)

    def save_model(
        self, request: HttpRequest, obj: Invitation, form: InvitationForm, change: bool
    ) -> None:
        """Only new ones come here: a made invitation can be deleted, not changed."""
        made, secret = invitations.invite(
            by=signed_in_user(request), note=obj.note, makes_administrator=obj.makes_administrator
        )
        obj.pk, obj.secret_hash, obj.expires_at = made.pk, made.secret_hash, made.expires_at
        link = invitations.link_of(secret, request.build_absolute_uri("/"))
        text = _("This link is shown once. Give it to the person: %(link)s") % {"link": link}
        messages.warning(request, text)

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return False
