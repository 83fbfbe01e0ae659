"""URLs below /admin/latency/; included before the admin's own."""

from django.urls import path

from chatsite.dashboards.latency import views

app_name = "latency"
urlpatterns = [
    path("", views.board, name="board"),
    path("data/", views.data, name="data"),
    path("<slug:table>.csv", views.export, name="export"),
    path("requests/<uuid:request_id>/", views.one_request, name="request"),
]
