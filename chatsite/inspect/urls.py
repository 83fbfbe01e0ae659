from django.urls import path

from chatsite.inspect import views

app_name = "inspect"
urlpatterns = [
    path("<uuid:message_id>/", views.page, name="answer"),
    path("<uuid:message_id>/data/", views.data, name="data"),
    path("<uuid:message_id>/branch/", views.branch, name="branch"),
]
