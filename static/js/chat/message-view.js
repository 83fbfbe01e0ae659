// One message on the page: its text, its phase or figures, and what can be done with it.

import { figureFormat } from "../figure-format.js";
import { MarkdownView } from "./markdown.js";
import { page } from "./page.js";
import { drawWaterfall, figuresLine } from "./waterfall.js";
import { tokens, translate, when } from "./i18n.js";

// Markdown of messages far from view is made when they come near: long threads open at once.
const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) waiting.get(target)?.();
  },
  { rootMargin: "1500px" },
);
const waiting = new WeakMap(); // element → draws its Markdown

export class MessageView {
  #message = null;
  #place = [];
  #isLast = null;
  #markdown = null;
  #liveText = null;
  #livePosition = 0;
  #details;
  element;

  /** `onAction(name, message, button)` is told of every button. */
  constructor(message, onAction) {
    const template = document.getElementById("message-template");
    this.element = template.content.cloneNode(true).firstElementChild;
    this.element.classList.add(message.role);
    this.element.dataset.id = message.id;
    this.#part("h2").textContent = translate(message.role === "user" ? "you" : "model");
    if (message.role === "assistant") this.#markdown = new MarkdownView(this.#part(".content"));
    else this.element.title = when(message.created_at);
    this.element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button) onAction(button.dataset.do, this.#message, button);
    });
    this.#details = this.#part("details");
    this.#details.addEventListener("toggle", () => {
      this.#drawFigures();
      if (this.#details.open) this.#details.scrollIntoView({ block: "nearest" });
    });
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }

  /** Show a message as it is stored; `place` is [which, of how many] among its versions. */
  show(message, place, { isLast }) {
    const isSame = message === this.#message && isLast === this.#isLast;
    if (isSame && String(place) === String(this.#place)) return;
    const isTextSame = this.#message?.text === message.text && this.#message.state === message.state;
    [this.#message, this.#place, this.#isLast] = [message, place, isLast];
    const isDone = message.state === "done";
    if (!isTextSame) this.#showText(message, isDone);
    this.element.classList.toggle("unfinished", !isDone);
    this.element.classList.toggle("last", isLast);
    this.#showEnd(message, isDone);
    this.#showTools(message, place, isDone, isLast);
  }

  /** Show an answer while it is made. True when there were tokens that the page had not shown. */
  showLive(live) {
    waiting.get(this.element)?.();
    if (live.text !== this.#liveText) this.#markdown.render(live.text, { isGrowing: true });
    const isNew = live.position !== this.#livePosition;
    [this.#liveText, this.#livePosition] = [live.text, live.position];
    this.#showPhase(live.words());
    return isNew;
  }

  /** Open or close the waterfall. */
  toggleFigures() {
    if (!this.#details.hidden) this.#details.open = !this.#details.open;
  }

  #showText(message, isDone) {
    waiting.get(this.element)?.();
    const content = this.#part(".content");
    if (!this.#markdown) {
      content.textContent = message.text;
    } else if (isDone) {
      const isFresh = this.#liveText === null && !content.firstChild;
      this.#liveText = null;
      if (isFresh) this.#showWhenNear(content);
      else this.#markdown.render(message.text);
    }
  }

  /** The plain text at first, so that the page's own search finds it; Markdown when near. */
  #showWhenNear(content) {
    content.textContent = this.#message.text;
    content.classList.add("plain-text");
    waiting.set(this.element, () => {
      waiting.delete(this.element);
      near.unobserve(this.element);
      content.textContent = "";
      content.classList.remove("plain-text");
      if (this.#message.state === "done") this.#markdown.render(this.#message.text);
    });
    near.observe(this.element);
  }

  #showPhase(words) {
    const line = this.#part(".phase");
    line.hidden = !words;
    if (line.textContent !== words) line.textContent = words;
  }

  #showEnd(message, isDone) {
    const trouble = this.#part(".trouble");
    trouble.textContent = isDone ? endOf(message) : "";
    trouble.hidden = !trouble.textContent;
    const trimmed = this.#part(".trimmed");
    trimmed.hidden = !message.trimmed_messages;
    trimmed.textContent = translate("trimmed", { count: figureFormat.count(message.trimmed_messages) });
    trouble.classList.toggle("mild", !["failed", "interrupted"].includes(message.finish_reason));
    if (isDone) this.#showPhase("");
    const line = isDone ? figuresLine(message.figures) : "";
    this.#details.hidden = !line;
    this.#part("summary").textContent = line;
    this.#drawFigures();
  }

  #drawFigures() {
    if (this.#details.open) drawWaterfall(this.#part(".waterfall"), this.#message.figures);
  }

  #showTools(message, [which, of], isDone, isLast) {
    const isAnswer = message.role === "assistant";
    const allowed = {
      copy: isDone && message.text,
      edit: !isAnswer && isDone,
      regenerate: isAnswer && isDone,
      "choose-again": isAnswer && isDone,
      continue: isAnswer && isDone && isLast && page.continuable.includes(message.finish_reason),
    };
    for (const [name, is] of Object.entries(allowed)) {
      this.#part(`[data-do=${name}]`).hidden = !is;
    }
    const siblings = this.#part(".siblings");
    siblings.hidden = of < 2;
    siblings.querySelector("span").textContent = translate("version", { which: figureFormat.count(which), of: figureFormat.count(of) });
    siblings.querySelector("[data-do=previous]").disabled = which === 1;
    siblings.querySelector("[data-do=next]").disabled = which === of;
  }
}

/** How an answer ended, in words; "" when it just came to its end. */
export function endOf(message) {
  const after = { tokens: tokens(message.position) };
  switch (message.finish_reason) {
    case "cancelled":
      return translate(message.position ? "end_cancelled" : "end_cancelled_early", after);
    case "interrupted":
      return translate(message.position ? "end_interrupted" : "end_interrupted_early", after);
    case "length":
      return translate("end_length");
    case "failed":
      return translate("end_failed", { text: message.error_text || message.error_code });
    default:
      return message.text ? "" : translate("end_empty");
  }
}
