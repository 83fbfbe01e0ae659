"""Where the chat's socket lives."""

from django.urls import path

from chatsite.chat.consumers import ChatConsumer

websocket_urlpatterns = [path("ws/chat/", ChatConsumer.as_asgi())]
