// Markdown as sanitised DOM. Models write the text: nothing in it may run or load.

import DOMPurify from "../../vendor/dompurify/purify.js";
import hljs from "../../vendor/highlight/highlight.js";
import { marked } from "../../vendor/marked/marked.js";
import { say } from "./words.js";

const RULES = {
  RETURN_DOM_FRAGMENT: true,
  USE_PROFILES: { html: true },
  FORBID_TAGS: ["style", "form", "input", "button", "textarea", "select", "img", "picture", "video", "audio", "dialog", "details"],
  FORBID_ATTR: ["style", "id", "name", "tabindex", "autofocus"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
};
const MAX_HIGHLIGHTED = 40_000;

marked.use({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text), // tags that a model writes are shown, not obeyed
    image: ({ text, href }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

/**
 * Renders a growing text block by block: a block whose source is unchanged keeps its nodes, so
 * that only the unfinished last one is made anew and selections survive.
 */
export class MarkdownView {
  #root;
  #blocks = []; // [source, element, was it still growing]

  constructor(root) {
    this.#root = root;
  }

  /** Show `text`; `isGrowing` closes what is half-written at its end. */
  render(text, { isGrowing = false } = {}) {
    const tokens = marked.lexer(isGrowing ? closed(text) : text).filter((token) => token.type !== "space");
    tokens.forEach((token, index) => {
      const known = this.#blocks[index];
      if (known?.[0] === token.raw && (isGrowing || !known[2])) return;
      const element = blockOf(token, isGrowing);
      if (known) known[1].replaceWith(element);
      else this.#root.append(element);
      this.#blocks[index] = [token.raw, element, isGrowing];
    });
    for (const [, element] of this.#blocks.splice(tokens.length)) element.remove();
  }
}

function blockOf(token, isGrowing) {
  if (token.type === "code") return codeOf(token.text, token.lang, isGrowing);
  const block = document.createElement("div");
  block.className = "block";
  block.append(DOMPurify.sanitize(marked.parser([token]), RULES));
  for (const link of block.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const code of block.querySelectorAll("pre > code")) {
    const language = /language-([\w+#.-]+)/.exec(code.className)?.[1];
    code.parentElement.replaceWith(codeOf(code.textContent, language, isGrowing));
  }
  for (const element of block.querySelectorAll("[class]")) {
    if (!element.closest(".code")) element.removeAttribute("class");
  }
  for (const table of block.querySelectorAll("table")) {
    const frame = document.createElement("div");
    frame.className = "table";
    frame.tabIndex = 0;
    table.replaceWith(frame);
    frame.append(table);
  }
  return block;
}

function codeOf(text, language, isGrowing) {
  const figure = document.getElementById("code-template").content.cloneNode(true).firstElementChild;
  const name = (language ?? "").trim().split(/\s/)[0].slice(0, 24).toLowerCase();
  figure.querySelector("span").textContent = name || say("text");
  const code = figure.querySelector("code");
  if (!isGrowing && name && hljs.getLanguage(name) && text.length < MAX_HIGHLIGHTED) {
    const html = hljs.highlight(text, { language: name, ignoreIllegals: true }).value;
    code.append(DOMPurify.sanitize(html, RULES));
  } else {
    code.textContent = text;
  }
  const button = figure.querySelector("button");
  button.textContent = say("copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = say("copied");
    setTimeout(() => (button.textContent = say("copy")), 1500);
  });
  return figure;
}

/** Close emphasis and inline code that the end of a growing text leaves open, so it doesn't jump. */
function closed(text) {
  const cut = text.lastIndexOf("\n\n") + 1;
  const last = text.slice(cut);
  if ((text.match(/^ {0,3}(```|~~~)/gm) ?? []).length % 2) return text;
  let fixed = last.replace(/\[[^\]\n]*\]\([^)\n]*$/, "");
  if ((fixed.match(/`/g) ?? []).length % 2) return text.slice(0, cut) + fixed + "`";
  fixed = fixed.replace(/(\*{1,3}|_{1,3})$/, "");
  if ((fixed.match(/\*\*/g) ?? []).length % 2) fixed += "**";
  return text.slice(0, cut) + fixed;
}

function escaped(text) {
  const holder = document.createElement("span");
  holder.textContent = text;
  return holder.innerHTML.replaceAll('"', "&quot;");
}
