"""Pauses sign-ins after too many failures: of a name from an address, of a name, of an address.

The first alone would let one address try every name, and many addresses one name. The last two have
higher limits: an address may be a whole office, and a name must not be locked by a passer-by's few
tries. Old passwords that are tried at the change of a password count as well.

The log names the address, so that an operator can block it, and the name only if it is one of the
site: people type passwords into the wrong field.
"""

from __future__ import annotations

import logging
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.http import HttpRequest

from chatsite.accounts.models import User

logger = logging.getLogger("chatsite.sign_in")


class SignInThrottle(AxesDatabaseHandler):
    """axes' handler with a limit for each of AXES_LOCKOUT_PARAMETERS."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Failures so far, as a share of SIGN_IN_TRIES: whichever limit is nearest counts."""
        usual = int(settings.AXES_FAILURE_LIMIT)
        limits = (
            usual,
            max(usual, settings.SIGN_IN_TRIES_PER_NAME),
            max(usual, settings.SIGN_IN_TRIES_PER_ADDRESS),
        )
        counts = [
            sum(attempts.values_list("failures_since_start", flat=True))
            for attempts in self.get_user_attempts(request, credentials)
        ]
        return max(
            (count * usual // limit for count, limit in zip(counts, limits, strict=True)),
            default=0,
        )

    def reset_user_attempts(
        self, request: HttpRequest, credentials: dict[str, Any] | None = None
    ) -> int:
        """A success forgives this name at this address, and nothing that was tried beside it.

        Otherwise whoever has an account could go on trying the names of others.
        """
        name = (credentials or {}).get("username")
        count, _ = AccessAttempt.objects.filter(
            username=name,
            ip_address=request.axes_ip_address,  # type: ignore[attr-defined]
        ).delete()
        return int(count)

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any
    ) -> None:
        super().user_login_failed(sender, credentials, request, **kwargs)
        if request is None:
            return
        name = str(credentials.get("username") or "")
        is_known = User.objects.filter(username=name).exists()
        logger.warning(
            "sign-in refused%s: address %s, %s",
            " (paused)" if request.axes_locked_out else "",
            request.axes_ip_address or "none",
            f"name {name!r}" if is_known else "a name that isn't known",
        )
