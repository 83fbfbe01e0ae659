"""Tells Django which admin site it is. Stands in INSTALLED_APPS for django.contrib.admin."""

from django.contrib.admin.apps import AdminConfig


class ChatsiteAdminConfig(AdminConfig):
    default_site = "chatsite.dashboards.admin_site.ChatsiteAdmin"
