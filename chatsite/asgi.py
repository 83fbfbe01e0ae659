"""The site over ASGI: HTTP and the chat's socket."""

import os
import threading
from contextlib import suppress

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
http = get_asgi_application()

from django.conf import settings  # noqa: E402

from chatsite.api.http.api_handler import ApiHandler  # noqa: E402
from chatsite.chat.routing import websocket_urlpatterns  # noqa: E402
from chatsite.server.origin_check import SameOriginOnly  # noqa: E402
from chatsite.server.request_limits import limit_requests  # noqa: E402
from chatsite.server.socket_language import SocketLanguage  # noqa: E402
from chatsite.server.socket_limits import limit_sockets  # noqa: E402
from inference.client import ModelUnknown, load_text  # noqa: E402

limit_requests()
limit_sockets()


def _read_vocabulary() -> None:
    """So that the first message need not wait for half a second of reading."""
    with suppress(ModelUnknown):
        load_text(settings.CHATSITE_MODEL)


threading.Thread(target=_read_vocabulary, name="vocabulary", daemon=True).start()

application = ProtocolTypeRouter(
    {
        "http": ApiHandler(http),
        "websocket": SameOriginOnly(
            AuthMiddlewareStack(SocketLanguage(URLRouter(websocket_urlpatterns)))
        ),
    }
)
