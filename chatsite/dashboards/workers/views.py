"""The workers' page, for staff who may view models."""

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from chatsite.catalog.worker_status import workers
from chatsite.dashboards.staff_pages import render_in_admin, staff_page


@staff_page("catalog.view_languagemodel")
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """All workers by host and name."""
    return render_in_admin(
        request, "admin/workers/list.html", {"title": _("Workers"), "workers": workers()}
    )
