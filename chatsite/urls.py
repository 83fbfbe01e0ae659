"""Every URL of the site; each app keeps its own."""

from django.contrib import admin
from django.urls import include, path
from django.views.i18n import set_language

from chatsite.accounts.views import admin_sign_in
from chatsite.server import health

handler500 = "chatsite.server.failures.failed"
urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("health", health.healthz),  # where clients of vLLM look before they begin
    path("readyz", health.readyz, name="readyz"),
    path("language/", set_language, name="set-language"),
    path("accounts/", include("chatsite.accounts.urls")),
    path("history/", include("chatsite.dashboards.history.urls")),
    path("admin/latency/", include("chatsite.dashboards.latency.urls")),
    path("admin/workers/", include("chatsite.dashboards.workers.urls")),
    path("admin/login/", admin_sign_in),
    path("admin/", admin.site.urls),
    path("v1/", include("chatsite.api.urls")),
    path("settings/keys/", include("chatsite.api.access.key_pages")),
    path("inspect/", include("chatsite.inspect.urls")),
    path("", include("chatsite.chat.urls")),
]
