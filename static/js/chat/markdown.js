// Markdown as sanitised DOM. Models write the text: nothing in it may run or load.

import DOMPurify from "../../vendor/dompurify/purify.js";
import { marked } from "../../vendor/marked/marked.js";
import { codeBlock, growCodeBlock } from "./code-block.js";
import { autoclose } from "./markdown-autoclose.js";
import { escaped } from "./html.js";
import { drawMath, mathExtensions } from "./math.js";

const RULES = {
  RETURN_DOM_FRAGMENT: true,
  USE_PROFILES: { html: true },
  FORBID_TAGS: [
    "style", "form", "input", "button", "textarea", "select", "img", "picture", "video", "audio",
    "source", "track", "dialog", "details", "link", "meta",
  ],
  FORBID_ATTR: ["style", "id", "name", "tabindex", "autofocus", "background", "poster", "srcset", "src"],
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
};

marked.use({
  gfm: true,
  breaks: true,
  extensions: mathExtensions,
  renderer: {
    html: ({ text }) => escaped(text), // tags that a model writes are shown, not obeyed
    image: ({ text, href }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`, // not loaded
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

/**
 * Renders a growing text block by block: a block that is complete keeps its nodes, so that only
 * the unfinished last one is made anew and a selection survives.
 */
export class MarkdownView {
  #root;
  #blocks = []; // {raw, start, element, isGrowing}

  constructor(root) {
    this.#root = root;
  }

  /** Show `text`; `isGrowing` closes what is half-written at its end. */
  render(text, { isGrowing = false } = {}) {
    const source = isGrowing ? autoclose(text) : text;
    const kept = isGrowing ? this.#settled(source) : 0;
    let start = kept ? this.#blocks[kept].start : 0;
    let index = kept;
    const tokens = marked.lexer(source.slice(start));
    const shown = tokens.filter((token) => token.type !== "space");
    for (const token of tokens) {
      if (token.type !== "space") this.#put(index++, token, start, isGrowing && token === shown.at(-1));
      start += token.raw.length;
    }
    for (const { element } of this.#blocks.splice(index)) element.remove();
  }

  /** How many blocks can't change any more: what follows may still join the last two. */
  #settled(source) {
    const count = this.#blocks.length - 2;
    if (count < 1) return 0;
    const { start } = this.#blocks[count];
    const last = this.#blocks[count - 1];
    const isSame = source.startsWith(last.raw, last.start) && last.start + last.raw.length <= start;
    return isSame ? count : 0;
  }

  #put(index, token, start, isGrowing) {
    const { raw } = token;
    const known = this.#blocks[index];
    const block = { raw, start, isGrowing, type: token.type, lang: token.lang };
    if (known?.raw === raw && known.isGrowing === isGrowing && known.type === token.type) {
      known.start = start;
      return;
    }
    this.#blocks[index] = block;
    if (isGrowing && known?.type === "code" && token.type === "code" && known.lang === token.lang) {
      block.element = known.element;
      growCodeBlock(known.element, token.text);
      return;
    }
    block.element = blockOf(token, isGrowing);
    if (!known) this.#root.append(block.element);
    else if (known.element.isEqualNode(block.element)) block.element = known.element;
    else known.element.replaceWith(block.element);
  }
}

function blockOf(token, isGrowing) {
  if (token.type === "code") return codeBlock(token.text, token.lang, { isGrowing });
  const block = document.createElement("div");
  block.className = "block";
  block.append(DOMPurify.sanitize(marked.parser([token]), RULES));
  for (const link of block.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const code of block.querySelectorAll("pre > code")) {
    const language = /language-([\w+#.-]+)/.exec(code.className)?.[1];
    code.parentElement.replaceWith(codeBlock(code.textContent.replace(/\n$/, ""), language, { isGrowing }));
  }
  drawMath(block);
  for (const element of block.querySelectorAll("[class]")) {
    if (!element.closest(".code, .math")) element.removeAttribute("class");
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
