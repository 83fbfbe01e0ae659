from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChatConfig(AppConfig):
    name = "chatsite.chat"
    verbose_name = _("Chat")

    def ready(self) -> None:
        from chatsite.chat import signals  # noqa: F401
        from chatsite.chat.answers import MessageAnswers
        from chatsite.generation.answers import register

        register("chat", MessageAnswers())
