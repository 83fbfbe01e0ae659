"""The only writer of models and presets, apart from the seeds.

Keeps two promises: a change raises `version`, and exactly one model and one preset is the default.
The database holds the "at most one" itself; "at least one" is that the default can only be moved.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.errors import ChatError
from inference.contract import ErrorCode

Entry = LanguageModel | SamplingPreset


def save_entry(entry: Entry) -> None:
    """Insert or update, raise `version` and move the default here if `entry` asks for it.

    The first entry of its kind becomes the default. Raises ChatError when that would leave no
    enabled default.
    """
    kind = type(entry)
    with transaction.atomic():
        others = kind._default_manager.exclude(pk=entry.pk)
        if not others.filter(is_default=True).exists():
            is_kept = kind._default_manager.filter(pk=entry.pk, is_default=True).exists()
            if is_kept and not entry.is_default:
                raise ChatError(ErrorCode.NO_DEFAULT, field="is_default")
            entry.is_default = True
        if entry.is_default and not entry.is_enabled:
            raise _default_is_disabled()
        if entry.is_default:
            others.filter(is_default=True).update(is_default=False)
        if entry.pk is None:
            entry.save(force_insert=True)
            return
        entry.version = F("version") + 1  # two savers raise it by two
        entry.save(force_update=True)
        entry.refresh_from_db(fields=["version"])


def make_default(entry: Entry) -> None:
    """Move the default here. Raises ChatError for an entry that isn't enabled."""
    kind = type(entry)
    with transaction.atomic():
        list(kind._default_manager.select_for_update().order_by("pk"))  # one mover at a time
        kind._default_manager.filter(is_default=True).exclude(pk=entry.pk).update(is_default=False)
        moved = kind._default_manager.filter(pk=entry.pk, is_enabled=True).update(is_default=True)
        if not moved:  # disabled or deleted meanwhile: leave the default where it was
            raise _default_is_disabled()
    entry.is_default = True


def delete_entry(entry: Entry) -> None:
    """Remove it. Answers keep the snapshot that made them. Raises ChatError for the default."""
    deleted, _rows = type(entry)._default_manager.filter(pk=entry.pk, is_default=False).delete()
    if not deleted:
        raise ChatError(ErrorCode.NO_DEFAULT, field="is_default")


def _default_is_disabled() -> ChatError:
    text = _("The default must be enabled.")
    return ChatError(ErrorCode.NO_DEFAULT, text, field="is_enabled")
