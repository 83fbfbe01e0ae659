"""The Chromium that browser tests drive; scripts/ensure_chromium.sh looks for the same names."""

from __future__ import annotations

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
