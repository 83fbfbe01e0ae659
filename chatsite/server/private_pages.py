"""Headers of pages: kept by no cache, and without the powers of a browser that no page uses."""

from __future__ import annotations

from django.utils.deprecation import MiddlewareMixin

PERMISSIONS_POLICY = ", ".join(
    f"{power}=()"
    for power in (
        "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope",
        "hid", "idle-detection", "magnetometer", "microphone", "midi", "payment", "serial", "usb",
        "xr-spatial-tracking",
    )
)  # fmt: skip


class PrivatePages(MiddlewareMixin):
    """Django middleware; stands behind WhiteNoise, whose files may be kept by anybody."""

    def process_response(self, request, response):  # type: ignore[no-untyped-def]
        response.headers.setdefault("Cache-Control", "private, no-store")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response
