from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chatsite.chat"

    def ready(self) -> None:
        from chatsite.chat import signals  # noqa: F401
        from chatsite.chat.answers import MessageAnswers
        from chatsite.generation.answers import register

        register("chat", MessageAnswers())
