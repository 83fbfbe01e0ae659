"""The workers' page, for staff who may view models."""

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from chatsite.catalog.worker_status import workers
from chatsite.dashboards.staff_pages import render_in_admin, staff_page
from chatsite.dashboards.workers.served import unserved_models


@staff_page("catalog.view_languagemodel")
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """All workers by host and name."""
    seen = workers()
    context = {"title": _("Workers"), "workers": seen, "unserved": unserved_models(seen)}
    return render_in_admin(request, "admin/workers/list.html", context)
