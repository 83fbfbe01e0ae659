"""Answers as they are rendered: nothing that a model writes runs, and nothing flickers."""

from __future__ import annotations

from typing import Any

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
