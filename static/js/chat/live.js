// An answer while it is made: its text so far, its phase, and when it was painted.

import { count, say } from "./words.js";

const SPEED_WINDOW_MS = 3000;

export class LiveAnswer {
  #arrivals = []; // [time, tokens] of the last seconds
  #codePoints = 0;
  text;
  position;
  phase = { phase: "sending" };

  /** From a MessageView; `sentAt` is performance.now() of the question, if this page sent it. */
  constructor(message, sentAt = null) {
    this.request = message.request;
    this.message = message.id;
    this.sentAt = sentAt;
    this.firstPaintAt = null;
    this.lastPaintAt = null;
    this.text = message.text;
    this.position = message.position;
    this.#codePoints = codePointsOf(message.text);
    this.phase = { phase: message.state === "running" ? "writing" : message.state };
  }

  /** Take a delta; false when the page has it already. Text goes to code point `offset`. */
  take({ position, count: tokens, text, offset }) {
    if (position + tokens <= this.position) return false;
    if (offset < this.#codePoints) {
      this.text = [...this.text].slice(0, offset).join("");
      this.#codePoints = offset;
    }
    this.text += text;
    this.#codePoints += codePointsOf(text);
    this.position = position + tokens;
    this.phase = { phase: "writing" };
    const now = performance.now();
    this.#arrivals.push([now, this.position]);
    while (now - this.#arrivals[0][0] > SPEED_WINDOW_MS) this.#arrivals.shift();
    return true;
  }

  /** Note a paint that shows text, for the browser's own stamps. */
  painted() {
    if (!this.text) return;
    this.firstPaintAt ??= performance.now();
    this.lastPaintAt = performance.now();
  }

  /** The phase in words with its numbers. */
  words() {
    const { phase, place, done, total } = this.phase;
    if (phase === "writing") {
      const speed = this.#speed();
      return speed ? say("phase_writing", { speed: count(Math.round(speed)) }) : say("phase_writing_start");
    }
    if (phase === "queued" && !place) return say("phase_queued_unknown");
    if (phase === "prefill" && !done) return say("phase_prefill_start");
    const share = total ? count(Math.round((100 * done) / total)) : "";
    return say(`phase_${phase}`, { place, share });
  }

  #speed() {
    const [first, last] = [this.#arrivals[0], this.#arrivals.at(-1)];
    const ms = last && last[0] - first[0];
    return ms > 200 ? (1000 * (last[1] - first[1])) / ms : 0;
  }
}

function codePointsOf(text) {
  let points = 0;
  for (const _ of text) points++;
  return points;
}
