"""The site over ASGI: HTTP and the chat's socket."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
http = get_asgi_application()

from chatsite.api.asgi import ApiHandler  # noqa: E402
from chatsite.chat.routing import websocket_urlpatterns  # noqa: E402
from chatsite.origin import SameOriginOnly  # noqa: E402
from chatsite.web_bounds import bound_requests  # noqa: E402

bound_requests()

application = ProtocolTypeRouter(
    {
        "http": ApiHandler(http),
        "websocket": SameOriginOnly(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
