from django.urls import path

from chatsite.dashboards.history import views

app_name = "history"
urlpatterns = [
    path("", views.page, name="list"),
    path("delete/", views.delete, name="delete"),
    path("restore/", views.restore, name="restore"),
    path("<uuid:conversation_id>/rename/", views.rename, name="rename"),
]
