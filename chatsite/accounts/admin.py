"""People and invitations in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chatsite.accounts import invitations
from chatsite.accounts.models import Invitation, User

admin.site.register(User, UserAdmin)


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin):
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

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        makes_administrator = obj.makes_administrator and request.user.is_superuser
        made, secret = invitations.invite(
            by=request.user, note=obj.note, makes_administrator=makes_administrator
        )
        obj.pk, obj.secret_hash, obj.expires_at = made.pk, made.secret_hash, made.expires_at
        link = invitations.link_of(secret, request.build_absolute_uri("/"))
        text = _("This link is shown once. Give it to the person: %(link)s") % {"link": link}
        messages.warning(request, text)

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return False
