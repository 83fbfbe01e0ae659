"""Answers as they are rendered: nothing that a model writes runs, and nothing flickers.

What each text of the dialect (docs/markdown.md) looks like is in markdown/*.txt: a case has a name, a
source and what is seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

HERE = Path(__file__).parent / "markdown"

HOSTILE = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror=window.ran=1>",
    "<svg onload=window.ran=1><a xlink:href='javascript:window.ran=1'>x</a></svg>",
    "[link](javascript:window.ran=1) [l](JaVaScRiPt&colon;window.ran=1) <javascript:window.ran=1>",
    "[link](data:text/html,<script>window.ran=1</script>) [v](vbscript:x) [f](file:///etc/passwd)",
    "![picture](http://elsewhere.example/pixel.png) ![x](javascript:window.ran=1)",
    "```html\n<script>window.ran = 1</script>\n```\n<b onmouseover=window.ran=1>b</b>",
    '```x"><img/src=x/onerror=window.ran=1>\ncode\n```',
    "`<img src=x onerror=window.ran=1>` and **<iframe srcdoc='<script>window.ran=1</script>'>**",
    "| a | b |\n|---|---|\n| <img src=x onerror=window.ran=1> | [x](javascript:window.ran=1) |",
    "<form action=//elsewhere.example><input name=password autofocus onfocus=window.ran=1></form>",
    "<style>* { display: none }</style><link rel=stylesheet href=//elsewhere.example/x.css>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=x onerror=window.ran=1>'>",
    "$\\href{javascript:window.ran=1}{x}$ $$\\htmlData{x=1}{\\includegraphics{//e.example/x}}$$ "
    "$\\fcolorbox{red}{blue}{x}$ $\\def\\a{\\a\\a}\\a$",
    "<details open ontoggle=window.ran=1><summary>x</summary></details><base href=//e.example>",
    '<a href="https://ok.example" style="position:fixed;inset:0" id="text" name="x">click</a>',
    "[x]: javascript:window.ran=1\n\n[x] and [y][x]\n\n<!-- <img src=x onerror=window.ran=1> -->",
    "1. <noscript><p title='</noscript><img src=x onerror=window.ran=1>'>\n2. \x00<scr\x00ipt>",
    "&lt;img src=x onerror=window.ran=1&gt; &#60;script&#62;window.ran=1&#60;/script&#62;",
    'http://ok.example/?q=<script>window.ran=1</script> www.ok.example/"onclick=window.ran=1',
]

FINE = [
    "# Title\n\nA paragraph with **bold words**, *leaning ones*, `code` and ~~gone~~ text.\n\nEnd.",
    "Some words\n- first *item*\n- second `item`\n  - nested\n- third\n\nAfter the list.",
    "Before\n\n1. One\n2. Two with **bold**\n3. Three\n\n> A quote\n> goes on\n\n---\n\nAfter",
    "```python\ndef add(a, b):\n    # a *comment* with `ticks`\n    return a + b\n```\n\nDone.",
    "~~~\nplain ``` inside\n~~~\nand `after` it",
    "| name | value |\n|---|--:|\n| one | 1 |\n| two | **2** |\n\nAfter the table.",
    "A [link](https://ok.example/path_(x)?a=b_c_d) here, and snake_case_names, 2 * 3 * 4 = 24.",
    "Array [1, 2, 3] and [not a link] then 5 < 6 and a <b>tag</b>. Cost: $5 and $10.",
    "Euler: $e^{i\\pi} + 1 = 0$ and\n\n$$\n\\int_0^1 x\\,dx = \\frac{1}{2}\n$$\n\nas well as \\(a_1\\).",
    "Heading\n===\n\nText\n\nOther\n---\n\n* a\n* b\n\n***both*** and __strong__ _lean_.",
    "- [ ] open\n- [x] done\n\n    indented code\n\nEmoji 👩‍👩‍👧 and العربية **جدا**.",
]

RENDER_AT_EVERY_SPLIT = """
async (texts) => {
    const { MarkdownView } = await import("/static/js/chat/markdown.js");
    const bad = [];
    const forbidden = "script,style,img,svg,iframe,object,embed,form,input,link,base,meta,template,video,audio,details";
    const wait = () => new Promise((then) => setTimeout(then, 0));
    for (const text of texts) {
        const root = document.createElement("div");
        document.getElementById("thread").append(root);
        const view = new MarkdownView(root);
        const look = (at) => {
            for (const element of root.querySelectorAll("*")) {
                if (element.matches(forbidden) && !element.closest("math")) bad.push([text, at, element.tagName]);
                for (const { name, value } of element.attributes) {
                    if (/^on|^style$|^src|^id$|^action$|^formaction$/.test(name)) bad.push([text, at, name]);
                    if (/^(xlink:)?href$/.test(name) && !/^(https?:|mailto:|#)/i.test(value)) bad.push([text, at, value]);
                }
            }
        };
        for (let at = 0; at <= text.length; at++) {
            view.render(text.slice(0, at), { isGrowing: true });
            look(at);
        }
        view.render(text);
        await wait();
        look("end");
        root.remove();
    }
    await new Promise((then) => setTimeout(then, 300));
    return [bad, window.ran ?? null];
}
"""

SHOW_EVERY_PREFIX = """
async (text) => {
    const { MarkdownView } = await import("/static/js/chat/markdown.js");
    await import("/static/vendor/katex/katex.min.js");
    const settle = () => new Promise((then) => setTimeout(then, 0));
    const fresh = document.createElement("div");
    new MarkdownView(fresh).render(text);
    const root = document.createElement("div");
    const view = new MarkdownView(root);
    const shown = [];
    const words = (element) => {
        const copy = element.cloneNode(true);
        for (const part of copy.querySelectorAll("figcaption, .math")) part.remove();
        return copy.textContent.replace(/\\s+/g, "");
    };
    await settle();
    const points = [...text];
    for (let at = 0; at <= points.length; at++) {
        const written = points.slice(0, at).join("");
        view.render(written, { isGrowing: true });
        const tags = [...root.querySelectorAll("h1,h2,h3,h4,h5,h6,hr,table,pre,ul,ol,blockquote,code,em,strong,del,a")];
        shown.push([written, words(root), tags.map((tag) => tag.tagName)]);
    }
    view.render(text);
    await settle();
    const tags = [...fresh.querySelectorAll("*")].map((tag) => tag.tagName);
    return { shown, final: words(fresh), tags, same: root.innerHTML === fresh.innerHTML };
}
"""


def test_nothing_that_a_model_writes_runs_or_loads_wherever_it_is_cut(visit):
    page = visit().page
    page.evaluate(
        "addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))"
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    found, ran = page.evaluate(RENDER_AT_EVERY_SPLIT, HOSTILE)
    assert found == []
    assert ran is None
    assert [url for url in asked if "/static/" not in url] == []


def test_a_growing_answer_only_grows(visit):
    """What is shown of a half-written text is a beginning of what the whole text shows."""
    page = visit().page
    for text in FINE:
        check_that_it_only_grows(page.evaluate(SHOW_EVERY_PREFIX, text))


def check_that_it_only_grows(result: dict[str, Any]) -> None:
    flickers = [
        (written[-40:], words[-40:])
        for written, words, _ in result["shown"]
        if not result["final"].startswith(words)
    ]
    assert flickers == []
    odd = {
        (written[-40:], tag)
        for written, _, tags in result["shown"]
        for tag in tags
        if tag not in result["tags"]
    }
    assert odd == set()
    assert result["same"]


@pytest.fixture
def sheet(visit) -> Page:
    """The chat's page with the checks of markdown/*.js."""
    page: Page = visit().page
    for name in ("outline.js", "checks.js"):
        page.evaluate((HERE / name).read_text())
    return page


def test_growing_keeps_the_nodes_of_what_is_complete(visit):
    page = visit().page
    kept = page.evaluate(
        """async () => {
            const { MarkdownView } = await import("/static/js/chat/markdown.js");
            const root = document.createElement("div");
            const view = new MarkdownView(root);
            const text = "One.\\n\\nTwo.\\n\\n```py\\nx = 1\\n```\\n\\nThree is long.";
            view.render(text.slice(0, 40), { isGrowing: true });
            const before = [...root.children].slice(0, 3);
            const code = root.querySelector("pre");
            view.render(text, { isGrowing: true });
            view.render(text);
            return [before.every((node) => node.isConnected || root.contains(node)), root.contains(code)];
        }"""
    )
    assert kept == [True, True]


def cases() -> list[Any]:
    """(source, seen) of every case there is, named."""
    found = []
    for path in sorted(HERE.glob("*.txt")):
        parts = path.read_text().split("%%%% ")[1:]
        for named, seen in zip(parts[::2], parts[1::2], strict=True):
            name, _, source = named.partition("\n")
            found.append(
                pytest.param(source.rstrip("\n"), seen.removeprefix("seen\n").strip("\n"), id=name)
            )
    return found


def test_each_text_is_seen_as_the_dialect_says(sheet):
    wrong = {}
    for case in cases():
        source, seen = case.values
        got = sheet.evaluate(OUTLINE, source)
        if got.strip("\n") != seen:
            wrong[case.id] = got
    assert wrong == {}


OUTLINE = """
async (text) => {
    const { MarkdownView } = await import("/static/js/chat/markdown.js");
    await import("/static/vendor/katex/katex.min.js");
    const root = document.createElement("div");
    root.className = "content";
    document.getElementById("thread").append(root);
    new MarkdownView(root).render(text);
    await new Promise((then) => setTimeout(then, 0));
    const seen = outline(root);
    root.remove();
    return seen;
}
"""


def test_a_text_that_grows_by_characters_ends_as_the_whole_text(sheet):
    texts = [case.values[0] for case in cases()] + FINE + HOSTILE
    assert sheet.evaluate("(texts) => grownDiffers(texts)", texts) == []


@pytest.mark.parametrize("seed", [1, 2])
def test_made_up_texts_end_as_the_whole_text_and_lose_no_word(sheet, seed):
    assert sheet.evaluate("(seed) => grownDiffers(madeUp(seed, 120), 2)", seed) == []
    assert sheet.evaluate("(seed) => lostWords(madeUp(seed, 400))", seed) == []


def test_no_word_of_a_case_is_lost(sheet):
    texts = [case.values[0] for case in cases()] + FINE + HOSTILE
    assert sheet.evaluate("(texts) => lostWords(texts)", texts) == []


LONG = {
    "list": "- An item with **some** words in it, and `code`.\n",
    "nested list": "- An item\n  - with a *smaller* one\n",
    "loose list": "1. An item\n\n   with a paragraph\n\n",
    "table": "| name | 1,024.00 | some **more** words |\n",
    "paragraph": "A sentence with **bold**, `code`, $x^2$ and [a link](https://example.com/). ",
    "chinese": "这是**一句**话，里面有`代码`。",
    "lines": "A line with *some* words\n",
    "quote": "> A line of a quote\n",
    "code": "total = total + 1\n",
    "mixed": "## A heading\n\nSome *words*.\n\n- one\n- two\n\n```py\nprint(1)\n```\n\n",
}
BEGINNINGS = {"table": "| a | b | c |\n|---|--:|---|\n", "code": "```python\n"}


@pytest.mark.parametrize("kind", LONG)
def test_what_a_frame_changes_is_independent_of_the_length(sheet, kind):
    """24 characters more, in a short and in a long block: about as many nodes change, a handful."""
    text = BEGINNINGS.get(kind, "") + LONG[kind] * (66_000 // len(LONG[kind]))
    short, long = (
        sheet.evaluate("([text, length]) => changesPerPiece(text, length)", [text, length])
        for length in (2_000, 64_000)
    )
    assert long <= max(short, 8) * 2
    assert long <= 40


SELECT = """
async ([text, at, word]) => {
    const { MarkdownView } = await import("/static/js/chat/markdown.js");
    const root = document.createElement("div");
    root.className = "content";
    document.getElementById("thread").append(root);
    const view = new MarkdownView(root);
    view.render(text.slice(0, at), { isGrowing: true });
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode() && !walker.currentNode.data.includes(word));
    const start = walker.currentNode.data.indexOf(word);
    getSelection().setBaseAndExtent(walker.currentNode, start, walker.currentNode, start + word.length);
    const seen = new Set();
    for (; at <= text.length; at += 7) {
        view.render(text.slice(0, at), { isGrowing: true });
        seen.add(getSelection().toString());
    }
    view.render(text);
    seen.add(getSelection().toString());
    root.remove();
    return [...seen];
}
"""


@pytest.mark.parametrize("kind", LONG)
def test_a_selection_survives_until_the_answer_has_ended(sheet, kind):
    """A word of the first item, row, sentence or line; the block and those after it grow."""
    word = {"chinese": "里面有", "code": "total + 1", "table": "more words", "quote": "line"}
    chosen = word.get(kind, "Select")
    first = LONG[kind].replace("some **more** words", "more words")
    first = first if kind in word else first.replace("A", "Select A", 1)
    text = (
        BEGINNINGS.get(kind, "")
        + first
        + LONG[kind] * (3_000 // len(LONG[kind]))
        + "\n\n```\n\nEnd."
    )
    at = len(BEGINNINGS.get(kind, "")) + len(first)
    assert sheet.evaluate(SELECT, [text, at, chosen]) == [chosen]


def show(page: Page, text: str) -> None:
    """Put an answer into the thread, drawn."""
    page.evaluate(
        """async (text) => {
            const { MarkdownView } = await import("/static/js/chat/markdown.js");
            await import("/static/vendor/katex/katex.min.js");
            document.getElementById("welcome").hidden = true;
            const root = document.createElement("div");
            root.className = "content";
            root.id = "shown";
            document.getElementById("thread").append(root);
            new MarkdownView(root).render(text);
            await document.fonts.load('16px "STIX Two Math"');
            await new Promise((then) => requestAnimationFrame(() => setTimeout(then, 50)));
        }""",
        text,
    )


def test_brackets_of_a_formula_stretch(sheet):
    show(sheet, "$$\\left( \\frac{\\frac{a}{b}}{\\frac{c}{d}} \\right)$$")
    heights = sheet.evaluate(
        """() => [...document.querySelectorAll("#shown mo, #shown mfrac")]
            .map((part) => part.getBoundingClientRect().height)"""
    )
    assert sheet.evaluate("""document.fonts.check('16px "STIX Two Math"')""")
    bracket, fraction = heights[0], heights[1]
    assert bracket > 0.8 * fraction > 30


def test_a_wide_formula_and_a_wide_table_can_be_reached_by_keys(visit):
    page = visit(viewport={"width": 390, "height": 844}).page
    wide = " + ".join(f"a_{{{n}}}" for n in range(40))
    show(
        page,
        f"$${wide}$$\n\n$$x$$\n\n| a | b |\n|---|---|\n| {'many words ' * 9} | {'more ' * 9} |",
    )
    facts = page.evaluate(
        """() => [...document.querySelectorAll("#shown > .math, #shown > .table")]
            .map((part) => [part.scrollWidth > part.clientWidth, part.tabIndex])"""
    )
    assert facts == [[True, 0], [False, -1], [True, 0]]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    widths = page.evaluate(
        "() => [...document.querySelectorAll('#shown td')].map((cell) => cell.offsetWidth)"
    )
    assert min(widths) > 140  # several words a line, not one


def test_long_code_keeps_its_head_on_view_and_can_be_wrapped(sheet):
    show(sheet, "```py\n" + "x = 1\n" * 100 + "y" * 300 + "\n```")
    pre = sheet.locator("#shown pre")
    assert pre.evaluate("(pre) => pre.scrollWidth > pre.clientWidth")
    sheet.get_by_role("button", name="Wrap").click()
    assert pre.evaluate("(pre) => pre.scrollWidth <= pre.clientWidth")
    sheet.locator("#scroller").evaluate("(scroller) => (scroller.scrollTop = 1000)")
    head, scroller = (
        sheet.locator(part).bounding_box() for part in ("#shown figcaption", "#scroller")
    )
    assert head and scroller and abs(head["y"] - scroller["y"]) < 30


def test_what_is_selected_and_copied_is_what_was_written(sheet):
    show(
        sheet, "Before\n\n```bash\nmake up\n```\n\nThe sum is $a^2 + b^2$ and\n\n$$\nx\n$$\n\nAfter"
    )
    copied = sheet.evaluate(
        """() => {
            const shown = document.getElementById("shown");
            getSelection().selectAllChildren(shown);
            const data = new DataTransfer();
            shown.dispatchEvent(new ClipboardEvent("copy", { clipboardData: data, bubbles: true, cancelable: true }));
            return data.getData("text/plain");
        }"""
    )
    assert copied == "Before\n\nmake up\n\nThe sum is $a^2 + b^2$ and\n\n$$\nx\n$$\n\nAfter"


MONSTROUS = {
    "quotes": "> " * 30_000,
    "items": "- " * 30_000,
    "numbers": "1. " * 20_000,
    "stars": "*a " * 10_000 + "a* " * 10_000,
    "mixed stars": "a**b*c_d__" * 6_000,
    "brackets": "[" * 30_000 + "]" * 30_000,
    "links": "[](" * 20_000,
    "ticks": "".join("`" * (1 + n % 40) + "a" for n in range(3_000)),
    "dollars": "$a " * 20_000,
    "formulas": "\\(" * 20_000 + "\\[" * 10_000,
    "tags": "<a " * 20_000 + "<sub>" * 5_000,
    "spaces": "# a" + " " * 60_000 + "b",
    "address": "https://a.b/" + ")" * 50_000,
    "mail": "a." * 30_000 + "@",
    "entities": "&amp" * 15_000,
    "bars": "|" * 30_000 + "\n" + "|-" * 15_000,
    "details": "<details>" * 6_000,
}


@pytest.mark.parametrize("kind", MONSTROUS)
def test_no_text_makes_the_page_hang(sheet, kind):
    """Within seconds, grown and whole, where a bad pattern would take minutes or all of the stack."""
    sheet.set_default_timeout(60_000)
    took = sheet.evaluate(
        """async (text) => {
            const { MarkdownView } = await import("/static/js/chat/markdown.js");
            const view = new MarkdownView(document.createElement("div"));
            const begun = performance.now();
            for (let part = 1; part <= 4; part++) view.render(text.slice(0, (text.length * part) / 4), { isGrowing: true });
            view.render(text);
            return performance.now() - begun;
        }""",
        MONSTROUS[kind],
    )
    assert took < 15_000
