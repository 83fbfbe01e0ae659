// A block of code: its language, a copy button, colours once it is complete.

import hljs from "../../vendor/highlight/highlight.js";
import { copyOfTemplate, part } from "../dom.js";
import { copyText } from "./browser.js";
import { translate } from "./i18n.js";

const MAX_HIGHLIGHTED = 40_000;
const COPIED_MS = 1500;

/**
 * The figure for this code; its colours wait until it has stopped growing.
 * @param {string} text
 * @param {string | undefined} language
 * @param {{ isGrowing: boolean }} options
 */
export function codeBlock(text, language, { isGrowing }) {
  const figure = copyOfTemplate("code-template");
  part(figure, "span").textContent = language?.trim() || translate("text");
  const code = part(figure, "code");
  showCode(figure, text, language, { isGrowing });
  const button = part(figure, "[data-do=copy-code]");
  button.setAttribute("aria-label", translate("copy_code"));
  button.textContent = translate("copy");
  button.addEventListener("click", async () => {
    await copyText(code.textContent);
    button.textContent = translate("copied");
    setTimeout(() => (button.textContent = translate("copy")), COPIED_MS);
  });
  const wrap = part(figure, "[data-do=wrap]");
  wrap.addEventListener("click", () => {
    const isWrapped = figure.classList.toggle("wrapped");
    wrap.setAttribute("aria-pressed", String(isWrapped));
  });
  return figure;
}

/**
 * Show this code in its figure: where it is more of the same, it is appended, so that selection,
 * focus and the scrolled place stay.
 * @param {HTMLElement} figure
 * @param {string} text
 * @param {string | undefined} language
 * @param {{ isGrowing: boolean }} options
 */
export function showCode(figure, text, language, { isGrowing }) {
  const code = part(figure, "code");
  const shown = code.firstChild;
  const isPlain = shown instanceof Text && code.childNodes.length === 1;
  if (isPlain && text.startsWith(shown.data)) {
    if (text.length > shown.data.length) shown.appendData(text.slice(shown.data.length));
  } else if (code.textContent !== text) {
    code.textContent = text;
  }
  const name = nameOf(language);
  if (isGrowing || code.firstElementChild || text.length >= MAX_HIGHLIGHTED || !hljs.getLanguage(name)) return;
  const { rootNode } = hljs.highlight(text, { language: name, ignoreIllegals: true })._emitter;
  keepSelection(code, () => {
    code.replaceChildren(...rootNode.children.map(coloured));
    code.normalize();
  });
}

/**
 * A part of code with its colour: "title.function" is of the class hljs-title.
 * @param {import("../../vendor/highlight/highlight.js").Part} part
 * @returns {string | HTMLElement | DocumentFragment}
 */
function coloured(part) {
  if (typeof part === "string") return part;
  const isColour = part.scope && !part.scope.includes(":");
  const element = isColour ? document.createElement("span") : document.createDocumentFragment();
  if (element instanceof HTMLElement) element.className = `hljs-${part.scope?.split(".")[0]}`;
  element.append(...part.children.map(coloured));
  return element;
}

/** @param {string | undefined} language */
const nameOf = (language) => (language ?? "").trim().split(/[\s{,]/)[0].slice(0, 24).toLowerCase();

/**
 * Change the nodes of `root` but not its text; what is selected in it stays selected.
 * @param {HTMLElement} root
 * @param {() => void} change
 */
function keepSelection(root, change) {
  if (!root.isConnected) return change(); // nothing of it is selected; asking would lay out the page
  const selection = getSelection();
  const { anchorNode, anchorOffset, focusNode, focusOffset } = selection ?? {};
  const anchor = offsetIn(root, anchorNode, anchorOffset);
  const focus = offsetIn(root, focusNode, focusOffset);
  change();
  if (!selection || !anchorNode || !focusNode || (anchor === null && focus === null)) return;
  const [from, fromOffset] = anchor === null ? [anchorNode, anchorOffset ?? 0] : placeIn(root, anchor);
  const [to, toOffset] = focus === null ? [focusNode, focusOffset ?? 0] : placeIn(root, focus);
  selection.setBaseAndExtent(from, fromOffset, to, toOffset);
}

/**
 * How much of the text of `root` stands before this place; null when it is elsewhere.
 * @param {HTMLElement} root
 * @param {Node | null | undefined} node
 */
function offsetIn(root, node, offset = 0) {
  if (!node || !root.contains(node)) return null;
  const range = document.createRange();
  range.setStart(root, 0);
  range.setEnd(node, offset);
  return range.toString().length;
}

/**
 * @param {HTMLElement} root
 * @param {number} offset
 * @returns {[Node, number]}
 */
function placeIn(root, offset) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node instanceof Text; node = walker.nextNode()) {
    if (offset <= node.data.length) return [node, offset];
    offset -= node.data.length;
  }
  return [root, root.childNodes.length];
}
