// One message on the page: its text, its phase or figures, and what can be done with it.

import { MarkdownView } from "./markdown.js";
import { drawWaterfall, figuresLine } from "./waterfall.js";
import { count, say, when } from "./words.js";

const CONTINUABLE = ["length", "cancelled", "failed", "interrupted"];

export class MessageView {
  #message;
  #markdown;
  element;

  /** `onAction(name, message)` is told of every button. */
  constructor(message, onAction) {
    const template = document.getElementById("message-template");
    this.element = template.content.cloneNode(true).firstElementChild;
    this.element.classList.add(message.role);
    this.#part("h2").textContent = say(message.role === "user" ? "you" : "model");
    this.#markdown = message.role === "assistant" ? new MarkdownView(this.#part(".content")) : null;
    this.element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button) onAction(button.dataset.do, this.#message, button);
    });
    this.#part("details").addEventListener("toggle", (event) => {
      if (event.target.open) drawWaterfall(this.#part(".waterfall"), this.#message.figures);
    });
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }

  /** Show a message as it is stored; `place` is [which, of how many] among its versions. */
  show(message, place, { isLast }) {
    this.#message = message;
    this.element.dataset.id = message.id;
    this.element.title = message.role === "user" ? when(message.created_at) : "";
    const isDone = message.state === "done";
    if (message.role === "user") this.#part(".content").textContent = message.text;
    else if (isDone) this.#markdown.render(message.text);
    this.element.classList.toggle("unfinished", !isDone);
    this.#showEnd(message, isDone);
    this.#showTools(message, place, isDone, isLast);
  }

  /** Show an answer while it is made. */
  showLive(live) {
    this.#markdown.render(live.text, { isGrowing: true });
    this.showPhase(live.words());
  }

  showPhase(words) {
    const line = this.#part(".phase");
    line.hidden = !words;
    if (line.textContent !== words) line.textContent = words;
  }

  #showEnd(message, isDone) {
    const trouble = this.#part(".trouble");
    const words = isDone ? endOf(message) : "";
    const trimmed = message.trimmed_messages
      ? say("trimmed", { count: count(message.trimmed_messages) })
      : "";
    trouble.textContent = [words, trimmed].filter(Boolean).join(" ");
    trouble.hidden = !trouble.textContent;
    trouble.classList.toggle("mild", message.finish_reason !== "failed");
    if (isDone) this.showPhase("");
    const line = isDone ? figuresLine(message.figures) : "";
    const details = this.#part("details");
    details.hidden = !line;
    this.#part("summary").textContent = line;
    if (details.open) drawWaterfall(this.#part(".waterfall"), message.figures);
  }

  #showTools(message, [which, of], isDone, isLast) {
    const isAnswer = message.role === "assistant";
    const allowed = {
      copy: isDone && message.text,
      edit: !isAnswer && isDone,
      regenerate: isAnswer && isDone,
      continue: isAnswer && isDone && isLast && CONTINUABLE.includes(message.finish_reason),
    };
    for (const [name, is] of Object.entries(allowed)) {
      this.#part(`[data-do=${name}]`).hidden = !is;
    }
    const siblings = this.#part(".siblings");
    siblings.hidden = of < 2;
    siblings.querySelector("span").textContent = `${which} / ${of}`;
    siblings.querySelector("[data-do=previous]").disabled = which === 1;
    siblings.querySelector("[data-do=next]").disabled = which === of;
  }
}

function endOf(message) {
  const tokens = count(message.position);
  switch (message.finish_reason) {
    case "cancelled":
    case "interrupted":
      return say(`end_${message.finish_reason}`, { tokens });
    case "length":
      return say("end_length");
    case "failed":
      return say("end_failed", { text: message.error_text || message.error_code });
    default:
      return "";
  }
}
