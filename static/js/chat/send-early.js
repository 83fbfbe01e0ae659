// Sends what was to be sent before the page's modules were there (early-enter.js).

import { byId } from "../dom.js";

/** @typedef {{ text: string | null, stop: () => void }} Early */

/** Call when the composer can send. What else is in the field, such as a draft, stays there. */
export function sendEarly() {
  const { earlyEnter: early } = /** @type {{ earlyEnter?: Early }} */ (/** @type {unknown} */ (window));
  early?.stop();
  if (!early?.text) return;
  const field = byId("text", HTMLTextAreaElement);
  const all = field.value;
  const beside = all.endsWith(early.text) ? all.slice(0, -early.text.length).trimEnd() : all;
  const { text } = early;
  write(field, text);
  byId("composer", HTMLFormElement).requestSubmit();
  if (beside) giveBackWhenSent(field, text, beside);
}

/**
 * The text leaves the field when the outbox has it: then a draft that was there comes back.
 * @param {HTMLTextAreaElement} field
 * @param {string} sent
 * @param {string} beside
 */
function giveBackWhenSent(field, sent, beside) {
  if (field.value === sent) setTimeout(() => giveBackWhenSent(field, sent, beside), 50);
  else write(field, [beside, field.value].filter(Boolean).join("\n\n"));
}

/**
 * @param {HTMLTextAreaElement} field
 * @param {string} text
 */
function write(field, text) {
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}
