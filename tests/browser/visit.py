"""What a person does on the chat's page, and what the database says about it."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any
from uuid import UUID

from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect

from tests.support.stack import Stack

ANSWER_MS = 60_000
PASSWORD = "a long pass phrase"


def add_presets(stack: Stack) -> None:
    """Presets whose answers don't depend on chance: a few words, and more than a test waits for."""
    stack.python(
        "from chatsite.catalog.models import SamplingPreset as P\n"
        "P.objects.create(slug='brief', name='Brief', temperature=0, max_tokens=12)\n"
        "P.objects.create(slug='endless', name='Endless', temperature=1, max_tokens=1500,"
        " repetition_penalty=1.2, seed=7)\n"
    )


def signed_in(stack: Stack, browser: Browser, name: str) -> Any:
    """The browser state of a new person, who signs in by the site's own form."""
    stack.add_user(name, password=PASSWORD)
    context = browser.new_context(base_url=stack.url)
    page = context.new_page()
    page.goto("/accounts/sign-in/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", PASSWORD)
    page.click("button.primary")
    page.wait_for_selector("#text")
    state = context.storage_state()
    context.close()
    return state


class Visit:
    """A window in front of the chat. `complaints` holds errors, warnings and policy violations.

    With `holds_sockets` the page's socket goes through the test, which can cut it and refuse a new
    one, as a train's tunnel does.
    """

    def __init__(
        self,
        stack: Stack,
        browser: Browser,
        state: Any,
        path: str,
        *,
        holds_sockets: bool = False,
        **options: Any,
    ) -> None:
        self.stack = stack
        context = browser.new_context(base_url=stack.url, storage_state=state, **options)
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.is_cut = False
        self._sockets: list[WebSocketRoute] = []
        self._delayed = ""
        self._waiting: list[tuple[WebSocketRoute, str | bytes]] = []
        self.frames: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda said: said.type in ("error", "warning") and self.complaints.append(said.text),
        )
        if holds_sockets:
            self.page.route_web_socket("**/ws/chat/", self._pass_on)
        self.open(path)

    def open(self, path: str) -> None:
        self.page.goto(path)
        self._wait_for_page()

    def reload(self) -> None:
        self.page.reload()
        self._wait_for_page()

    def _wait_for_page(self) -> None:
        if not self.is_cut:
            expect(self.page.locator("body.connected")).to_be_visible(timeout=20_000)

    # --- the socket --------------------------------------------------------------------------

    def _pass_on(self, socket: WebSocketRoute) -> None:
        if self.is_cut:
            socket.close()
            return
        server = socket.connect_to_server()
        self._sockets.append(socket)

        def up(frame: str | bytes) -> None:
            self.frames.append(str(frame))
            if self._delayed and json.loads(frame)["type"] == self._delayed:
                self._waiting.append((server, frame))
            else:
                server.send(frame)

        socket.on_message(up)

    def cut(self) -> None:
        """The connection breaks, and none can be made."""
        self.is_cut = True
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()
        expect(self.page.locator("#connection")).to_be_visible()

    def delay(self, kind: str) -> None:
        """Frames of this type are under way until `deliver`."""
        self._delayed = kind

    def deliver(self) -> None:
        self._delayed = ""
        for server, frame in self._waiting:
            server.send(frame)
        self._waiting.clear()

    def hear(self, frame: dict[str, Any]) -> None:
        """The page gets a frame as if the site had sent it."""
        self._sockets[-1].send(json.dumps(frame))

    def mend(self) -> None:
        self.is_cut = False
        self._wait_for_page()

    # --- chatting ----------------------------------------------------------------------------

    def ask(self, text: str, *, preset: str = "brief") -> None:
        self.page.select_option("#preset", preset)
        self.page.fill("#text", text)
        self.page.keyboard.press("Enter")

    def answer(self, number: int = -1) -> Locator:
        """An answer that is shown, the last one by default."""
        return self.page.locator(".message.assistant").nth(number)

    def wait_for_text(self, *, chars: int = 1) -> None:
        """Wait until the last answer has begun to be written."""
        expect(self.answer().locator(".content")).to_have_text(_at_least(chars), timeout=ANSWER_MS)

    def wait_for_end(self) -> None:
        expect(self.page.locator(".message.unfinished")).to_have_count(0, timeout=ANSWER_MS)
        expect(self.answer().locator("summary")).not_to_have_text("", timeout=ANSWER_MS)

    def ask_and_wait(self, text: str, *, preset: str = "brief") -> None:
        number = self.page.locator(".message.assistant").count()
        self.ask(text, preset=preset)
        expect(self.page.locator(".message.assistant")).to_have_count(number + 1)
        self.wait_for_end()

    def do(self, action: str, *, number: int = -1) -> None:
        """Press the button of that action under an answer."""
        self.answer(number).locator(f'[data-do="{action}"]').click()

    # --- what is stored ----------------------------------------------------------------------

    @property
    def conversation(self) -> UUID:
        self.page.wait_for_url("**/c/*/")
        return UUID(self.page.url.rstrip("/").rsplit("/", 1)[-1])

    def stored(self) -> list[dict[str, Any]]:
        """This conversation's messages in the order they were made."""
        return self.query(
            "SELECT * FROM chat_message WHERE conversation_id = ? ORDER BY created_at",
            self.conversation.hex,
        )

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        path = self.stack.folder / "data" / "db.sqlite3"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql, values)]
        finally:
            connection.close()

    def goes_on_from(self, before: dict[str, Any]) -> None:
        """The answer that was stored so far is being continued: more text behind the same."""
        self.wait_for_text(chars=len(before["text"]) + 60)
        self.page.keyboard.press("Escape")
        self.wait_for_end()
        after = self.stored()[-1]
        assert after["id"] == before["id"]
        assert after["text"].startswith(before["text"])
        assert len(after["text"]) > len(before["text"])
        assert self.shows_exactly(after["text"])

    def shows_exactly(self, text: str, number: int = -1) -> bool:
        """Whether an answer's nodes are what this Markdown gives when it is rendered at once."""
        return bool(
            self.answer(number)
            .locator(".content")
            .evaluate(
                """async (shown, text) => {
                    const { MarkdownView } = await import("/static/js/chat/markdown.js");
                    const root = document.createElement("div");
                    new MarkdownView(root).render(text);
                    return root.innerHTML === shown.innerHTML;
                }""",
                text,
            )
        )


def _at_least(chars: int) -> re.Pattern[str]:
    return re.compile(r"[\s\S]{%d,}" % chars)
