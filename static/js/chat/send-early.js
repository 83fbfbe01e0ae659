// Sends what was to be sent before the page's modules were there (early-enter.js).

import { byId } from "../dom.js";

/** @typedef {{ text: string | null, stop: () => void }} Early */

/** Call when the composer can send. What else is in the field, such as a draft, stays there. */
export function sendEarly() {
  const { earlyEnter: early } = /** @type {{ earlyEnter?: Early }} */ (/** @type {unknown} */ (window));
  early?.stop();
  if (!early?.text) return;
  const field = byId("text", HTMLTextAreaElement);
  const beside = field.value === early.text ? "" : field.value;
  write(field, early.text);
  byId("composer", HTMLFormElement).requestSubmit();
  if (beside && !field.value) write(field, beside);
}

/**
 * @param {HTMLTextAreaElement} field
 * @param {string} text
 */
function write(field, text) {
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}
