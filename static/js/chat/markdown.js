// Markdown as sanitised DOM. Models write the text: nothing in it may run or load.

import DOMPurify from "../../vendor/dompurify/purify.js";
import { marked } from "../../vendor/marked/marked.js";
import { codeBlock, growCodeBlock } from "./code-block.js";
import { autoclose } from "./markdown-autoclose.js";
import { escaped } from "./html.js";
import { drawMath, mathExtensions } from "./math.js";

/** @typedef {import("../../vendor/marked/marked.js").Token} Token */
/** @typedef {{ raw: string, start: number, isGrowing: boolean, type: string, lang?: string, element: HTMLElement }} Block */

/** @type {import("../../vendor/dompurify/purify.js").Rules} */
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
  /** @type {Block[]} */
  #blocks = [];

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
  }

  /**
   * Show `text`; `isGrowing` closes what is half-written at its end.
   * @param {string} text
   */
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

  /**
   * How many blocks can't change any more: what follows may still join the last two.
   * @param {string} source
   */
  #settled(source) {
    const count = this.#blocks.length - 2;
    if (count < 1) return 0;
    const { start } = this.#blocks[count];
    const last = this.#blocks[count - 1];
    const isSame = source.startsWith(last.raw, last.start) && last.start + last.raw.length <= start;
    return isSame ? count : 0;
  }

  /**
   * @param {number} index
   * @param {Token} token
   * @param {number} start
   * @param {boolean} isGrowing
   */
  #put(index, token, start, isGrowing) {
    const { raw, type, lang } = token;
    const known = this.#blocks[index];
    if (known?.raw === raw && known.isGrowing === isGrowing && known.type === token.type) {
      known.start = start;
      return;
    }
    const isMoreCode = isGrowing && known?.type === "code" && type === "code" && known.lang === lang;
    if (isMoreCode) growCodeBlock(known.element, token.text);
    const element = isMoreCode ? known.element : this.#placed(blockOf(token, isGrowing), known?.element);
    this.#blocks[index] = { raw, start, isGrowing, type, lang, element };
  }

  /**
   * Put a block in the place of the one that was there, unless it is the same.
   * @param {HTMLElement} element
   * @param {HTMLElement | undefined} before
   */
  #placed(element, before) {
    if (before?.isEqualNode(element)) return before;
    if (before) before.replaceWith(element);
    else this.#root.append(element);
    return element;
  }
}

/**
 * @param {Token} token
 * @param {boolean} isGrowing
 */
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
    code.parentElement?.replaceWith(codeBlock(code.textContent.replace(/\n$/, ""), language, { isGrowing }));
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
