// The one selection of the page: a token of the prompt or of the answer. It stands in the address,
// so that a link shows what one saw, and arrow keys walk it, from the prompt on into the answer.
// People count from 1, the address as well; places count from 0.

/** @typedef {import("./types.js").Place} Place */

export class Selection {
  /** @type {Place} */
  #place = { kind: "answer", place: 0 };
  #counts;
  #tint = "probability";
  /** @type {((place: Place, tint: string) => void)[]} */
  #listeners = [];

  /** @param {{ prompt: number, answer: number }} counts */
  constructor(counts) {
    this.#counts = counts;
    this.#readAddress();
    addEventListener("hashchange", () => {
      if (this.#readAddress()) this.#tell();
    });
  }

  get place() {
    return this.#place;
  }

  get tint() {
    return this.#tint;
  }

  /** @param {string} tint */
  set tint(tint) {
    this.#tint = tint;
    this.#writeAddress();
    this.#tell();
  }

  /** @param {Place} place */
  choose(place) {
    const count = this.#counts[place.kind];
    if (place.place < 0 || place.place >= count) return;
    this.#place = place;
    this.#writeAddress();
    this.#tell();
  }

  /**
   * So many tokens further, out of the prompt into the answer and back.
   * @param {number} by
   */
  move(by) {
    const { prompt, answer } = this.#counts;
    const at = this.#place.kind === "prompt" ? this.#place.place : prompt + this.#place.place;
    const to = Math.max(0, Math.min(prompt + answer - 1, at + by));
    this.choose(to < prompt ? { kind: "prompt", place: to } : { kind: "answer", place: to - prompt });
  }

  /**
   * Call it now and whenever the selection or the tint has changed.
   * @param {(place: Place, tint: string) => void} listener
   */
  listen(listener) {
    this.#listeners.push(listener);
    listener(this.#place, this.#tint);
  }

  #tell() {
    for (const listener of this.#listeners) listener(this.#place, this.#tint);
  }

  #readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const tint = given.get("tint");
    if (tint) this.#tint = tint;
    for (const [name, kind] of /** @type {const} */ ([["token", "answer"], ["prompt", "prompt"]])) {
      const place = Number(given.get(name)) - 1;
      if (given.has(name) && Number.isInteger(place) && place >= 0 && place < this.#counts[kind]) {
        this.#place = { kind, place };
        return true;
      }
    }
    return Boolean(tint);
  }

  #writeAddress() {
    const { kind, place } = this.#place;
    const address = new URLSearchParams({ [kind === "answer" ? "token" : "prompt"]: String(place + 1) });
    if (this.#tint !== "probability") address.set("tint", this.#tint);
    history.replaceState(history.state, "", `#${address}`);
  }
}
