// A block of code: its language, a copy button, colours once it is complete.

import DOMPurify from "../../vendor/dompurify/purify.js";
import hljs from "../../vendor/highlight/highlight.js";
import { copyOfTemplate, part } from "../dom.js";
import { copyText } from "./browser.js";
import { translate } from "./i18n.js";

const MAX_HIGHLIGHTED = 40_000;
const COPIED_MS = 1500;
/** @type {import("../../vendor/dompurify/purify.js").Rules} */
const COLOURS = { RETURN_DOM_FRAGMENT: true, ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"] };

/**
 * The figure for this code; its colours wait until it has stopped growing.
 * @param {string} text
 * @param {string | undefined} language
 * @param {{ isGrowing: boolean }} options
 */
export function codeBlock(text, language, { isGrowing }) {
  const figure = copyOfTemplate("code-template");
  const name = (language ?? "").trim().split(/\s/)[0].slice(0, 24).toLowerCase();
  part(figure, "span").textContent = name || translate("text");
  const code = part(figure, "code");
  code.textContent = text;
  if (!isGrowing && hljs.getLanguage(name) && text.length < MAX_HIGHLIGHTED) {
    const html = hljs.highlight(text, { language: name, ignoreIllegals: true }).value;
    code.replaceChildren(DOMPurify.sanitize(html, COLOURS));
  }
  const button = part(figure, "button");
  button.textContent = translate("copy");
  button.setAttribute("aria-label", translate("copy_code"));
  button.addEventListener("click", async () => {
    await copyText(code.textContent);
    button.textContent = translate("copied");
    setTimeout(() => (button.textContent = translate("copy")), COPIED_MS);
  });
  return figure;
}

/**
 * Show more of the same code in its figure: scroll position and focus stay.
 * @param {HTMLElement} figure
 * @param {string} text
 */
export function growCodeBlock(figure, text) {
  const code = part(figure, "code");
  const shown = code.firstChild;
  if (shown instanceof Text && code.childNodes.length === 1 && text.startsWith(shown.data)) {
    shown.appendData(text.slice(shown.length));
  } else if (code.textContent !== text) {
    code.textContent = text;
  }
}
