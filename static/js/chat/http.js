// JSON to and from the site, with the session's cookie and the form token.

import { part } from "../dom.js";
import { tellSignedOut } from "./session-end.js";

const token = () => part(document, "input[name=csrfmiddlewaretoken]", HTMLInputElement).value;

export class HttpError extends Error {
  /**
   * @param {number} status
   * @param {{ code: string, text: string } | undefined} error the site's own words
   */
  constructor(status, error) {
    super(error?.text ?? `HTTP ${status}`);
    this.status = status;
    this.code = error?.code ?? "";
  }
}

/**
 * Resolves to the JSON answer; throws HttpError with the site's sentence.
 * @param {string} url
 */
export async function get(url) {
  return answerOf(await fetch(url, { headers: { Accept: "application/json" } }));
}

/**
 * As `get`. `isLast`: sent even when the page is being left.
 * @param {string} url
 * @param {object} body
 */
export async function post(url, body = {}, { isLast = false } = {}) {
  return answerOf(
    await fetch(url, {
      method: "POST",
      keepalive: isLast,
      headers: { "Content-Type": "application/json", "X-CSRFToken": token() },
      body: JSON.stringify(body),
    }),
  );
}

/** @param {Response} response */
async function answerOf(response) {
  if (response.status === 401) tellSignedOut();
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new HttpError(response.status, body.error);
  return body;
}
