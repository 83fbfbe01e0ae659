"""Runs the Python that a test sends, in one process that has the site set up (see Stack.python).

A line in is a program as JSON; a line out is what it printed and its traceback, if any. Each program
has names of its own, and no connection is kept from one to the next: tests stop what is connected to.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from typing import Any


def main() -> None:
    import django

    django.setup()
    from django.db import connections

    from inference.queue.connection import connect

    for line in sys.stdin:
        printed, problem = io.StringIO(), ""
        names: dict[str, Any] = {"__name__": "__main__"}
        with contextlib.redirect_stdout(printed):
            try:
                exec(compile(json.loads(line), "<test>", "exec"), names)
            except Exception:
                problem = traceback.format_exc()
        connections.close_all()
        connect().connection_pool.disconnect()
        print(json.dumps([printed.getvalue(), problem]), flush=True)


if __name__ == "__main__":
    main()
