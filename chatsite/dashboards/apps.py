from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    name = "chatsite.dashboards"

    def ready(self) -> None:
        """The admin without its sidebar: tables want the width, breadcrumbs lead back."""
        from django.contrib import admin

        admin.site.enable_nav_sidebar = False
