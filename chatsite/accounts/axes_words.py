"""The words of django-axes in the admin, which has no Portuguese of its own.

Marked here, they are in the site's catalogue, and Django looks there first.
"""

from django.utils.translation import gettext_noop as _

WORDS = (
    _("access attempt"),
    _("access attempts"),
    _("access failure"),
    _("access failures"),
    _("access log"),
    _("access logs"),
    _("Access lock out"),
    _("Attempt Time"),
    _("Failed Logins"),
    _("Form Data"),
    _("GET Data"),
    _("HTTP Accept"),
    _("IP Address"),
    _("Logout Time"),
    _("Meta Data"),
    _("POST Data"),
    _("Path"),
    _("Session key hash (sha256)"),
    _("User Agent"),
    _("Username"),
    _("Clean up expired attempts"),
)
