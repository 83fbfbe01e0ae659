from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chatsite.chat"

    def ready(self) -> None:
        from chatsite.chat import signals  # noqa: F401
