// Frames that must not be lost: kept until the site has accepted or refused them, over a reload
// too. The site knows a frame by its client_id, so that sending one twice is harmless.

export class Outbox {
  #key;
  #frames = new Map(); // client_id → frame

  /** Each person has an outbox of their own in this tab. */
  constructor(person) {
    this.#key = `outbox:${person}`;
    for (const frame of JSON.parse(sessionStorage.getItem(this.#key) ?? "[]")) {
      this.#frames.set(frame.client_id, frame);
    }
  }

  get frames() {
    return [...this.#frames.values()];
  }

  has(clientId) {
    return this.#frames.has(clientId);
  }

  put(frame) {
    this.#frames.set(frame.client_id, frame);
    this.#keep();
  }

  remove(clientId) {
    if (this.#frames.delete(clientId)) this.#keep();
  }

  #keep() {
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(this.frames));
    } catch {
      // Storage is full or forbidden: the frames live as long as the page.
    }
  }
}
