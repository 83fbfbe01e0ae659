"""The reply to a call that generates: its run is opened in a thread and awaited outside of it."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpResponse, StreamingHttpResponse

from chatsite.api.error_responses import ApiError
from chatsite.api.http.endpoints import page_of
from chatsite.api.schemas.common import GenerationBody
from chatsite.api.serving.formats import Format
from chatsite.api.serving.responses import streamed_reply, whole_reply
from chatsite.api.serving.runs import Run, refuse_without_worker, stop
from chatsite.catalog.models import SamplingPreset
from chatsite.threads import API_POOL


@dataclass(frozen=True, slots=True)
class GenerationReply:
    """A run under way and how its reply is written."""

    run: Run
    form: Format
    body: GenerationBody

    async def response(self) -> HttpResponse | StreamingHttpResponse:
        response: HttpResponse | StreamingHttpResponse
        try:
            if self.body.stream:
                response = await streamed_reply(self.run, self.form, self.body.stream_options)
            else:
                response = await whole_reply(self.run, self.form)
        except ApiError as error:
            error.headers |= self._headers()
            raise
        for name, value in self._headers().items():
            response[name] = value
        return response

    def abandon(self) -> None:
        API_POOL.submit(stop, self.run.choices)

    def _headers(self) -> dict[str, str]:
        headers = {"x-request-id": self.run.id, **self.run.headers}
        if page := page_of(self.run.id):
            headers["Link"] = f'<{page}>; rel="describedby"'
        return headers


def opened(
    run: Run, form: Format, body: GenerationBody, preset: SamplingPreset | None
) -> GenerationReply:
    """Store the run and put it on the queue. Raises ApiError; nothing then runs on."""
    refuse_without_worker(run.model)
    run.open(preset)
    return GenerationReply(run, form, body)
