"""Arabic and Hebrew are laid out right to left wherever somebody's text is shown or taken."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

TITLE = "مرحبا بالعالم"
CONVERSATION = f"""
from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message
owner = User.objects.get(username="direction")
talk = Conversation.objects.create(owner=owner, title="{TITLE}")
question = Message.objects.create(
    conversation=talk, role="user", author=owner,
    text="كيف حالك؟ هذا `code` هنا.\\nAn English line.",
)
answer = Message.objects.create(
    conversation=talk, role="assistant", author=owner, parent=question, state="done", finish_reason="stop",
    text=(
        "مرحبا! هذا نص عربي مع `code_name` و 12 كلمة.\\n\\n- أولا: افتح الملف.\\n- ثانيا: أغلقه!\\n\\n"
        "English line.\\n\\n> اقتباس.\\n\\n## כותרת\\n\\n| الاسم | رقم |\\n|---|---|\\n| أحمد | واحد |\\n\\n"
        "```python\\nprint(1)\\n```\\n\\n- English\\n- عربي"
    ),
)
Conversation.objects.filter(pk=talk.pk).update(active_leaf=answer)
print(talk.pk)
"""


@pytest.fixture(scope="module")
def conversation(stack, person) -> str:
    return str(stack.python(CONVERSATION)).strip().splitlines()[-1]


def direction(place: Locator) -> str:
    return str(place.evaluate("(element) => getComputedStyle(element).direction"))


def test_an_answer_has_the_direction_of_each_of_its_parts(visit, conversation):
    page = visit(f"/c/{conversation}/").page
    content = page.locator(".message.assistant .content")
    expect(content.locator("li").first).to_be_visible()
    for text in ("نص عربي", "أولا", "ثانيا", "اقتباس", "כותרת", "الاسم", "أحمد", "واحد"):
        assert direction(content.get_by_text(text).first) == "rtl", text
    assert direction(content.get_by_text("عربي", exact=True)) == "rtl"
    for text in ("English line.", "English", "code_name", "print"):
        assert direction(content.get_by_text(text, exact=text != "print").first) == "ltr", text
    bullets = content.locator("ul").first.evaluate(
        """(list) => {
            const text = document.createRange();
            text.selectNodeContents(list.firstElementChild);
            const [box, words] = [list.getBoundingClientRect(), text.getBoundingClientRect()];
            return [box.right - words.right, getComputedStyle(list).paddingRight];
        }"""
    )
    assert bullets[0] > 20  # where the bullet is
    assert bullets[1] != "0px"


def test_questions_titles_and_fields_have_the_direction_of_their_text(visit, conversation):
    page = visit(f"/c/{conversation}/").page
    question = page.locator(".message.user .content")
    expect(question.locator("code")).to_have_text("code")
    assert direction(question) == "rtl"
    expect(page.locator("#title")).to_have_text(TITLE)
    assert direction(page.locator("#title")) == "rtl"
    row = page.locator(".conversation", has_text=TITLE)
    assert direction(row.locator(".name")) == "rtl"
    field = page.locator("#text")
    assert direction(field) == "ltr"
    field.fill("اكتب لي فقرة")
    assert direction(field) == "rtl"
    field.fill("")
    page.keyboard.press("Alt+t")
    assert direction(row.locator("input")) == "rtl"
    page.keyboard.press("Escape")
    page.fill("#search", "كيف")
    assert direction(page.locator("#search")) == "rtl"
    expect(page.locator(".conversation .snippet").first).to_be_visible()
    assert direction(page.locator(".conversation .snippet").first) == "rtl"

    page.goto("/history/?q=حالك")
    title = page.get_by_role("link", name=TITLE)
    assert direction(title) == "rtl"
    assert direction(page.locator(".snippet").first) == "rtl"
    assert direction(page.locator("[name=q]")) == "rtl"


def test_a_question_shows_its_code(visit):
    alice = visit()
    alice.ask_and_wait(
        "Why does `x = 1` fail?\n\n```python\nprint('*no* markup')\n```\nThank *you*"
    )
    question = alice.page.locator(".message.user .content")
    expect(question.locator("figure.code code")).to_have_text("print('*no* markup')")
    expect(question.locator(":scope > code")).to_have_text("x = 1")
    expect(question).to_contain_text("Thank *you*")
    assert alice.stored()[0]["text"].startswith("Why does `x = 1` fail?\n\n```python")
