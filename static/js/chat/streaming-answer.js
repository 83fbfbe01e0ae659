// An answer while it is made: its text so far, its phase, and when it was painted.

import { figureFormat } from "../figure-format.js";
import { codePointsOf } from "./browser.js";
import { translate } from "./i18n.js";

const SPEED_WINDOW_MS = 3000;
const SILENCE_MS = 2500;

export class StreamingAnswer {
  #arrivals = []; // [time, tokens] of the last seconds
  #codePoints;
  #isStopping = false;
  #phase;
  #wasHidden = document.hidden;
  #sentAt;
  firstPaintAt = null;
  lastPaintAt = null;

  /** From a MessageView; `sentAt` is performance.now() of the question, if this page sent it. */
  constructor(message, sentAt = null) {
    this.request = message.request;
    this.message = message.id;
    this.text = message.text;
    this.position = message.position;
    this.#sentAt = sentAt;
    this.#codePoints = codePointsOf(message.text);
    this.#phase = { phase: message.state === "running" ? "writing" : message.state };
  }

  get phase() {
    return this.#isStopping ? "stopping" : this.#phase.phase;
  }

  get isStopping() {
    return this.#isStopping;
  }

  /** Take a phase frame, or only its name. */
  enter(phase) {
    this.#phase = typeof phase === "string" ? { phase } : phase;
  }

  stop() {
    this.#isStopping = true;
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
    this.#phase = { phase: "writing" };
    const now = performance.now();
    this.#arrivals.push([now, this.position]);
    while (now - this.#arrivals[0][0] > SPEED_WINDOW_MS) this.#arrivals.shift();
    return true;
  }

  /** Note that a frame with new tokens was on the screen at `now`; the end token has no text. */
  painted(now) {
    this.#wasHidden ||= document.hidden;
    if (this.text) this.firstPaintAt ??= now;
    this.lastPaintAt = now;
  }

  /** Note that the whole text was on the screen at `now`. */
  paintedWhole(text, now) {
    this.text = text;
    this.painted(now);
  }

  /** The browser's own stamps in ms from `sent`; null when unknown or the page was not on view. */
  get stamps() {
    if (this.#sentAt === null || this.firstPaintAt === null || this.#wasHidden) return null;
    return { first: this.firstPaintAt - this.#sentAt, last: this.lastPaintAt - this.#sentAt };
  }

  /** The phase in words with its numbers. */
  words() {
    const { place, done, total } = this.#phase;
    const phase = this.phase;
    if (phase === "writing") {
      const silence = this.#silenceMs();
      if (silence > SILENCE_MS) return translate("phase_writing_silent", { seconds: figureFormat.count(Math.round(silence / 1000)) });
      const speed = this.#speed();
      return speed ? translate("phase_writing_speed", { speed: figureFormat.rate(speed) }) : translate("phase_writing");
    }
    if (place) return translate(`phase_${phase}_place`, { place: figureFormat.count(place) });
    if (done && total) return translate(`phase_${phase}_share`, { share: figureFormat.count((100 * done) / total) });
    return translate(`phase_${phase}`);
  }

  /** The phase for those who hear it: without numbers that change all the time. */
  spoken() {
    return this.#phase.place ? this.words() : translate(`phase_${this.phase}`);
  }

  #silenceMs() {
    return performance.now() - (this.#arrivals.at(-1)?.[0] ?? performance.now());
  }

  #speed() {
    const [first, last] = [this.#arrivals[0], this.#arrivals.at(-1)];
    const ms = last ? last[0] - first[0] : 0;
    return ms > 200 ? (1000 * (last[1] - first[1])) / ms : 0;
  }
}
