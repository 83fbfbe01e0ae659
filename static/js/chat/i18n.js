// Sentences and moments in the page's language.

import { figureFormat } from "../figure-format.js";

/** @type {Record<string, string>} */
const sentences = JSON.parse(document.getElementById("strings")?.textContent ?? "{}");
const language = document.documentElement.lang;
const moment = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

/**
 * The sentence of that key with `{name}` filled in. A key without a sentence, or a place without a
 * value, is an error of ours: it goes to the console, where the tests in a browser find it.
 * @param {string} key
 * @param {Record<string, string>} values
 */
export function translate(key, values = {}) {
  const sentence = sentences[key];
  if (sentence === undefined) console.error(`chatsite/chat/js_messages.py has no sentence "${key}"`);
  return (sentence ?? key).replace(/\{(\w+)\}/g, (place, name) => {
    if (values[name] === undefined) console.error(`the sentence "${key}" needs a value for ${place}`);
    return values[name] ?? "";
  });
}

/**
 * "1 token", "187 tokens".
 * @param {number} number
 */
export const tokens = (number) => translate(number === 1 ? "token" : "tokens", { count: figureFormat.count(number) });

/**
 * A moment: "27 Nov 2026, 18:04".
 * @param {string} iso
 */
export const when = (iso) => moment.format(new Date(iso));
