from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "chatsite.accounts"

    def ready(self) -> None:
        from chatsite.accounts import signals  # noqa: F401
