from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "chatsite.api"
    verbose_name = "API"

    def ready(self) -> None:
        from chatsite.api import signals  # noqa: F401
