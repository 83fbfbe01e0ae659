"""URLs below /admin/workers/; included before the admin's own."""

from django.urls import path

from chatsite.dashboards.workers import views

app_name = "workers"
urlpatterns = [path("", views.page, name="list")]
