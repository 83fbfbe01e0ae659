// Frames that must not be lost: kept until the site has accepted or refused them, over a reload
// too; what a closed tab had not sent yet is sent by another one of the same person. The site knows
// a frame by its request's id, so that sending one twice is harmless.

/** @typedef {import("./types.js").Ask} Ask */
/** @typedef {import("./composer.js").Edited} Edited */
/** @typedef {{ frame: Ask, editing: Edited | null }} Entry `editing`: the question that this is another version of */

export class Outbox {
  #person;
  #tabs;
  #key;
  /** @type {Map<string, Entry>} by request */
  #entries = new Map();
  /**
   * What a page of an older version had not sent yet; the site doesn't know such frames any more.
   * @type {{ conversation?: string | null, text?: string }[]}
   */
  outdated = [];

  /**
   * @param {string} person
   * @param {import("./tabs.js").Tabs} tabs
   */
  constructor(person, tabs) {
    this.#person = person;
    this.#tabs = tabs;
    this.#key = `outbox:${person}:${tabs.id}`;
    tabs.hold(this.#key);
    this.#take(this.#key);
  }

  get frames() {
    return [...this.#entries.values()].map(({ frame }) => frame);
  }

  /** They are back where they were written. */
  forgetOutdated() {
    this.outdated = [];
    this.#keep();
  }

  /** @param {string} request */
  has(request) {
    return this.#entries.has(request);
  }

  /**
   * @param {Ask} frame
   * @param {Edited | null} editing
   */
  put(frame, editing = null) {
    this.#entries.set(frame.request, { frame, editing });
    this.#keep();
  }

  /**
   * Take a frame out; undefined when there is none of that request.
   * @param {string} request
   */
  take(request) {
    const entry = this.#entries.get(request);
    if (this.#entries.delete(request)) this.#keep();
    return entry;
  }

  /** Take out the largest one: the site closed the socket on a frame that it would not read. */
  takeLargest() {
    const size = (/** @type {Ask} */ frame) => JSON.stringify(frame).length;
    const [largest] = this.frames.sort((a, b) => size(b) - size(a));
    return largest && this.take(largest.request);
  }

  /** Take over what tabs that are no more had not sent. The frames that are new here. */
  async adopt() {
    const others = () => Object.keys(localStorage).filter((key) => key.startsWith(`outbox:${this.#person}:`) && key !== this.#key);
    if (!others().length) return [];
    const held = await this.#tabs.heldElsewhere();
    const before = new Set(this.frames);
    for (const key of others()) {
      if (held.has(key)) continue;
      this.#take(key);
      this.#keep();
      localStorage.removeItem(key);
    }
    return this.frames.filter((frame) => !before.has(frame));
  }

  /** @param {string} key */
  #take(key) {
    for (const entry of JSON.parse(localStorage.getItem(key) ?? "[]")) {
      if (entry.frame?.request) this.#entries.set(entry.frame.request, entry);
      else this.outdated.push(entry);
    }
  }

  #keep() {
    try {
      if (this.#entries.size) localStorage.setItem(this.#key, JSON.stringify([...this.#entries.values()]));
      else localStorage.removeItem(this.#key);
    } catch {
      // Storage is full or forbidden: the frames live as long as the page.
    }
  }
}
