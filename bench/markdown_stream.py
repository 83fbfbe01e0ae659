"""What one frame of a growing answer costs the browser's main thread, by kind and length of text.

Shows an answer of each kind that grows by 24 characters a frame, as a quick model's does, in a
Chromium in front of the chat's own scripts and styles (no server, no model), and prints the CPU time
of a frame: its whole task, and how much of it was layout with styles. Beside it stand the nodes that
a frame added, took away or changed, which no other load on the machine alters.

    python bench/markdown_stream.py [--frames 30] [--kinds list,table] [--kilobytes 2,8,64]
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.chromium import CHROMIUM  # noqa: E402

SENTENCE = "The quick **brown** fox, `jump()`, goes over the lazy dog and comes back at once. "
KINDS = {
    "paragraph": SENTENCE,
    "list": f"- {SENTENCE[:60]}\n",
    "nested list": f"- {SENTENCE[:40]}\n  - a smaller point, with its own words\n",
    "loose list": f"1. {SENTENCE[:60]}\n\n   A second paragraph of the item.\n\n",
    "table": "| the name of it | 1,024.00 | some **more** words |\n",
    "code": "    total = total + increments[index]  # as before\n",
    "quote": f"> {SENTENCE}\n",
    "mixed": f"## A heading\n\n{SENTENCE * 3}\n\n- one\n- two\n\n```py\nprint(1)\n```\n\n",
}
BEGINNINGS = {"table": "| name | amount | note |\n|:---|---:|---|\n", "code": "```python\n"}

GROW = """
async ([text, length, frames, step]) => {
    const { MarkdownView } = await import("/static/js/chat/markdown.js");
    const scroller = document.querySelector(".scroller");
    const root = document.getElementById("content");
    root.replaceChildren();
    const view = new MarkdownView(root);
    view.render(text.slice(0, length), { isGrowing: true });
    const frame = () => new Promise((then) => requestAnimationFrame(then));
    window.grow = async () => {
        let changed = 0;
        const count = (records) => {
            for (const record of records) changed += record.addedNodes.length + record.removedNodes.length || 1;
        };
        const watcher = new MutationObserver(count);
        watcher.observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
        for (let at = 1; at <= frames; at++) {
            await frame();
            view.render(text.slice(0, length + at * step), { isGrowing: true });
            scroller.scrollTop = scroller.scrollHeight;
        }
        await frame();
        watcher.disconnect();
        return changed / frames;
    };
    await frame();
    await frame();
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--kilobytes", default="2,8,16,32,64")
    options = parser.parse_args()
    sizes = [int(size) for size in options.kilobytes.split(",")]
    print("ms of the main thread a frame (of it layout) | nodes changed a frame")
    with chat_page() as page:
        for kind in options.kinds.split(","):
            for size in sizes:
                task, layout, nodes = measure(page, kind, size * 1024, options.frames)
                print(
                    f"{kind:12} {size:3} KB  {task:6.2f} ({layout:.2f}) | {nodes:.1f}",
                    flush=True,
                )


def text_of(kind: str, length: int) -> str:
    """A text of one kind, at least that long."""
    return BEGINNINGS.get(kind, "") + KINDS[kind] * (length // len(KINDS[kind]) + 1)


def measure(page: Page, kind: str, length: int, frames: int) -> tuple[float, float, float]:
    """CPU milliseconds a frame (whole task, layout with styles), and nodes changed."""
    step = 24
    page.evaluate(GROW, [text_of(kind, length + frames * step), length, frames, step])
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = metrics(session)
    nodes = page.evaluate("grow()")
    after = metrics(session)
    session.detach()

    def spent(*names: str) -> float:
        return sum(after[name] - before[name] for name in names) * 1000 / frames

    return (
        spent("TaskDuration"),
        spent("LayoutDuration", "RecalcStyleDuration"),
        nodes,
    )


def metrics(session: Any) -> dict[str, float]:
    answer = session.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in answer["metrics"]}


@contextmanager
def chat_page() -> Iterator[Page]:
    """A page with the chat's styles and templates, and room for one answer."""
    handler = functools.partial(Quiet, directory=str(ROOT))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        yield page
        browser.close()
    server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """The site's static files, and at / the page."""

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        body = shell().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def shell() -> str:
    """The parts of the chat's page that an answer needs."""
    source = (ROOT / "templates" / "chat" / "chat.html").read_text()
    template = source[source.index('<template id="code-template">') :]
    template = template[: template.index("</template>") + len("</template>")]
    template = re.sub(r"\{% translate ['\"](.*?)['\"] %\}", r"\1", template)
    sheets = "".join(
        f'<link rel="stylesheet" href="/static/css/{name}.css">'
        for name in ("tokens", "base", "thread", "markdown")
    )
    strings = json.dumps(
        {"text": "text", "copy": "Copy", "copied": "Copied", "copy_code": "Copy code"}
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{sheets}'
        f'<script type="application/json" id="strings">{strings}</script>'
        '<body class="chat"><main class="stage"><div></div><div class="scroller">'
        '<div class="thread" id="thread"><article class="message assistant">'
        f'<div class="content" id="content"></div></article></div></div></main>{template}</body></html>'
    )


if __name__ == "__main__":
    main()
