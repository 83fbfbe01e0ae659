// One message on the page: its text, its phase or figures, and what can be done with it.

import { around, copyOfTemplate, part } from "../dom.js";
import { figureFormat } from "../figure-format.js";
import { MarkdownView } from "./markdown.js";
import { page } from "./page.js";
import { showQuestion } from "./question-text.js";
import { drawWaterfall, figuresLine } from "./waterfall.js";
import { tokens, translate, when } from "./i18n.js";

// Markdown of messages far from view is made when they come near: long threads open at once.
const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) waiting.get(target)?.();
  },
  { rootMargin: "1500px" },
);
/** @type {WeakMap<Element, () => void>} element → draws its Markdown */
const waiting = new WeakMap();

/** @typedef {import("./types.js").Action} Action */
/** @typedef {import("./types.js").Message} Message */
/** @typedef {(action: Action, message: Message, button: HTMLElement) => void} OnAction */
/** @typedef {{ which: number, of: number, isLast: boolean }} Place among its versions, and in the thread */

export class MessageView {
  /** @type {Message} */
  #message;
  /** @type {Place | null} */
  #place = null;
  /** @type {MarkdownView | null} */
  #markdown = null;
  /** @type {string | null} */
  #growingText = null;
  #position = 0;
  #details;
  element;

  /**
   * Shows nothing yet; `onAction` is called for every button.
   * @param {Message} message
   * @param {OnAction} onAction
   */
  constructor(message, onAction) {
    this.#message = message;
    this.element = copyOfTemplate("message-template");
    this.element.classList.add(message.role);
    this.element.dataset.id = message.id;
    part(this.element, "h2").textContent = translate(message.role === "user" ? "you" : "model");
    if (message.role === "assistant") this.#markdown = new MarkdownView(part(this.element, ".content"));
    this.element.addEventListener("click", (event) => {
      const button = around(event, "[data-do]");
      if (button) onAction(/** @type {Action} */ (button.dataset.do), this.#message, button);
    });
    this.#details = part(this.element, "details", HTMLDetailsElement);
    this.#details.addEventListener("toggle", () => {
      this.#drawFigures();
      if (this.#details.open) this.#details.scrollIntoView({ block: "nearest" });
    });
  }

  /**
   * Show a message as it is stored, or asked for.
   * @param {Message} message
   * @param {Place} place
   */
  show(message, place) {
    const [before, was] = [this.#message, this.#place];
    const isSamePlace = was && was.which === place.which && was.of === place.of && was.isLast === place.isLast;
    if (message === before && isSamePlace) return;
    const isTextSame = was && before.text === message.text && before.state === message.state && !before.isStub;
    [this.#message, this.#place] = [message, place];
    const isDone = message.state === "done";
    if (!isTextSame) this.#showText(message, isDone);
    this.element.classList.toggle("unfinished", !isDone);
    this.element.classList.toggle("stub", Boolean(message.isStub));
    if (message.role === "user") this.element.title = message.created_at && when(message.created_at);
    this.element.classList.toggle("last", place.isLast);
    this.#showEnd(message, isDone);
    this.#showTools(message, place, isDone);
  }

  /**
   * Show an answer while it is made. True when there were tokens that the page had not shown.
   * @param {import("./unfinished-answer.js").UnfinishedAnswer} answer
   */
  showUnfinished(answer) {
    const { text, position } = answer;
    waiting.get(this.element)?.();
    if (text !== this.#growingText) this.#markdown?.render(text, { isGrowing: true });
    const isNew = position !== this.#position;
    [this.#growingText, this.#position] = [text, position];
    this.#showPhase(answer.words());
    return isNew;
  }

  /** Make the Markdown now, near or not. */
  showNow() {
    waiting.get(this.element)?.();
  }

  /**
   * Whether the Tab key leads to this message and its tools: to one of the thread's only.
   * @param {boolean} isCurrent
   */
  setCurrent(isCurrent) {
    this.element.tabIndex = isCurrent ? 0 : -1;
    for (const tool of this.element.querySelectorAll(".tools button, .tools a, summary")) {
      /** @type {HTMLElement} */ (tool).tabIndex = isCurrent ? 0 : -1;
    }
  }

  /** Open or close the waterfall. */
  toggleFigures() {
    if (!this.#details.hidden) this.#details.open = !this.#details.open;
  }

  /**
   * @param {Message} message
   * @param {boolean} isDone
   */
  #showText(message, isDone) {
    waiting.get(this.element)?.();
    const content = part(this.element, ".content");
    if (!this.#markdown) {
      showQuestion(content, message.text);
    } else if (isDone) {
      const isFresh = this.#growingText === null && !content.firstChild;
      this.#growingText = null;
      if (isFresh) this.#showWhenNear(content);
      else this.#markdown.render(message.text);
    }
  }

  /**
   * The plain text at first, so that the page's own search finds it; Markdown when near.
   * @param {HTMLElement} content
   */
  #showWhenNear(content) {
    content.textContent = this.#message.text;
    content.classList.add("plain-text");
    waiting.set(this.element, () => {
      waiting.delete(this.element);
      near.unobserve(this.element);
      content.textContent = "";
      content.classList.remove("plain-text");
      if (this.#message.state === "done") this.#markdown?.render(this.#message.text);
    });
    near.observe(this.element);
  }

  /** @param {string} words */
  #showPhase(words) {
    const line = part(this.element, ".phase");
    line.hidden = !words;
    if (line.textContent !== words) line.textContent = words;
  }

  /**
   * @param {Message} message
   * @param {boolean} isDone
   */
  #showEnd(message, isDone) {
    const trouble = part(this.element, ".trouble");
    trouble.textContent = isDone ? endOf(message) : "";
    trouble.hidden = !trouble.textContent;
    const trimmed = part(this.element, ".trimmed");
    trimmed.hidden = !message.trimmed_messages;
    trimmed.textContent = translate("trimmed", { count: figureFormat.count(message.trimmed_messages) });
    trouble.classList.toggle("mild", !["failed", "interrupted"].includes(message.finish_reason));
    if (isDone) this.#showPhase("");
    const line = isDone ? figuresLine(message.figures) : "";
    this.#details.hidden = !line;
    part(this.element, "summary").textContent = line;
    this.#drawFigures();
  }

  #drawFigures() {
    if (this.#details.open) drawWaterfall(part(this.element, ".waterfall"), this.#message.figures);
  }

  /**
   * @param {Message} message
   * @param {Place} place
   * @param {boolean} isDone
   */
  #showTools(message, { which, of, isLast }, isDone) {
    const isAnswer = message.role === "assistant";
    const allowed = {
      copy: isDone && message.text !== "",
      edit: !isAnswer && isDone && !message.isStub,
      regenerate: isAnswer && isDone && !message.isStub,
      "choose-again": isAnswer && isDone && !message.isStub,
      continue: isAnswer && isDone && isLast && page.continuable.includes(message.finish_reason),
    };
    for (const [name, is] of Object.entries(allowed)) {
      part(this.element, `[data-do=${name}]`).hidden = !is;
    }
    const inspect = part(this.element, "[data-inspect]", HTMLAnchorElement);
    inspect.hidden = !(isAnswer && isDone && message.position > 0);
    inspect.href = `/inspect/${message.id}/`;
    const siblings = part(this.element, ".siblings");
    siblings.hidden = of < 2;
    part(siblings, "span").textContent = translate("version", { which: figureFormat.count(which), of: figureFormat.count(of) });
    part(siblings, "[data-do=previous]", HTMLButtonElement).disabled = which === 1;
    part(siblings, "[data-do=next]", HTMLButtonElement).disabled = which === of;
  }
}

/**
 * How an answer ended, in words; "" when it just came to its end.
 * @param {Message} message
 */
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
      return message.text || message.isStub ? "" : translate("end_empty");
  }
}
