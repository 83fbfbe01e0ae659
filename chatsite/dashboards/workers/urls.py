"""Stands before the admin's own URLs, below /admin/workers/."""

from django.urls import path

from chatsite.dashboards.workers import views

app_name = "workers"
urlpatterns = [path("", views.page, name="list")]
