// Frames that must not be lost: kept until the site has accepted or refused them, over a reload
// too. The site knows a frame by its request's id, so that sending one twice is harmless.

/** @typedef {import("./types.js").Ask} Ask */

export class Outbox {
  #key;
  /** @type {Map<string, Ask>} by request */
  #frames = new Map();
  /**
   * What a page of an older version had not sent yet; the site doesn't know such frames any more.
   * @type {{ conversation?: string | null, text?: string }[]}
   */
  outdated = [];

  /**
   * Each person has an outbox of their own in this tab.
   * @param {string} person
   */
  constructor(person) {
    this.#key = `outbox:${person}`;
    for (const frame of JSON.parse(sessionStorage.getItem(this.#key) ?? "[]")) {
      if (frame.request) this.#frames.set(frame.request, frame);
      else this.outdated.push(frame);
    }
  }

  get frames() {
    return [...this.#frames.values()];
  }

  /** @param {string} request */
  has(request) {
    return this.#frames.has(request);
  }

  /** @param {Ask} frame */
  put(frame) {
    this.#frames.set(frame.request, frame);
    this.#keep();
  }

  /**
   * Take a frame out; undefined when there is none of that request.
   * @param {string} request
   */
  take(request) {
    const frame = this.#frames.get(request);
    if (this.#frames.delete(request)) this.#keep();
    return frame;
  }

  /** Take out the largest one: the site closed the socket on a frame that it would not read. */
  takeLargest() {
    const size = (/** @type {Ask} */ frame) => JSON.stringify(frame).length;
    const [largest] = this.frames.sort((a, b) => size(b) - size(a));
    return largest && this.take(largest.request);
  }

  #keep() {
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(this.frames));
    } catch {
      // Storage is full or forbidden: the frames live as long as the page.
    }
  }
}
