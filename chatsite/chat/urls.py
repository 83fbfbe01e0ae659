"""The chat's page and its JSON."""

from django.urls import path

from chatsite.chat import views

app_name = "chat"
urlpatterns = [
    path("", views.page, name="home"),
    path("c/<uuid:conversation_id>/", views.page, name="conversation"),
    path("conversations/", views.conversations, name="conversations"),
    path("conversations/restore/", views.restore, name="restore"),
    path("conversations/<uuid:conversation_id>/", views.conversation, name="messages"),
    path("conversations/<uuid:conversation_id>/rename/", views.rename, name="rename"),
    path("conversations/<uuid:conversation_id>/delete/", views.delete, name="delete"),
    path("conversations/<uuid:conversation_id>/leaf/", views.leaf, name="leaf"),
]
