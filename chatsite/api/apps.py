from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "chatsite.api"

    def ready(self) -> None:
        from chatsite.api import signals  # noqa: F401
