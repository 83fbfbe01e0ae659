// One answer that has not ended, from the moment it is asked for: what it is asked by, its text so
// far, its phase, whether it is to stop, and when it was painted. Nothing else keeps any of it.

import { figureFormat } from "../figure-format.js";
import { codePointsOf } from "./browser.js";
import { translate } from "./i18n.js";
import { page } from "./page.js";
import { isServed } from "./serving.js";

/** @typedef {import("./types.js").Ask} Ask */
/** @typedef {import("./types.js").Message} Message */
/** @typedef {{ phase: string, place?: number, done?: number, total?: number }} PhaseState */

const SPEED_WINDOW_MS = 3000;
const SILENCE_MS = 2500;

export class UnfinishedAnswer {
  /**
   * The frame that asks for it, until the site has accepted that.
   * @type {Ask | null}
   */
  frame;
  request;
  message;
  model;
  text;
  position;
  /** @type {number | null} */
  firstPaintAt = null;
  /** @type {number | null} */
  lastPaintAt = null;
  /** @type {[number, number][]} [time, tokens] of the last seconds */
  #arrivals = [];
  #codePoints;
  #isStopping = false;
  /** @type {PhaseState} */
  #phase;
  #wasHidden = document.hidden;
  #sentAt;

  /**
   * `frame` asks for it; null for one that the site has. `sentAt` is performance.now() of the asking,
   * if that was on this page.
   * @param {string} request
   * @param {Message} message
   * @param {{ frame?: Ask | null, sentAt?: number | null }} options
   */
  constructor(request, message, { frame = null, sentAt = null } = {}) {
    this.frame = frame;
    this.request = request;
    this.message = message.id;
    this.model = message.model;
    this.text = message.text;
    this.position = message.position;
    this.#sentAt = sentAt;
    this.#codePoints = codePointsOf(message.text);
    this.#phase = phaseOf(message);
  }

  get phase() {
    return this.#isStopping ? "stopping" : this.#phase.phase;
  }

  get isStopping() {
    return this.#isStopping;
  }

  /** @param {PhaseState} phase */
  enter(phase) {
    this.#phase = phase;
  }

  /**
   * The site has stored it as this message.
   * @param {Message} message
   */
  accept(message) {
    this.frame = null;
    this.#phase = phaseOf(message);
  }

  stop() {
    this.#isStopping = true;
  }

  /**
   * Take new tokens; false when the page has them already. Text goes to code point `offset`.
   * @param {import("./types.js").Delta} delta
   */
  append({ position, count, text, offset }) {
    if (position + count <= this.position) return false;
    if (offset < this.#codePoints) {
      this.text = [...this.text].slice(0, offset).join("");
      this.#codePoints = offset;
    }
    this.text += text;
    this.#codePoints += codePointsOf(text);
    this.position = position + count;
    this.#phase = { phase: "writing" };
    const now = performance.now();
    this.#arrivals.push([now, this.position]);
    while (now - this.#arrivals[0][0] > SPEED_WINDOW_MS) this.#arrivals.shift();
    return true;
  }

  /**
   * Note that a frame with new tokens was on the screen at `now`; the end token has no text.
   * @param {number} now
   */
  painted(now) {
    this.#wasHidden ||= document.hidden;
    if (this.text) this.firstPaintAt ??= now;
    this.lastPaintAt = now;
  }

  /** Note that new tokens came while the answer was out of view: when it was painted is unknown. */
  missed() {
    this.#wasHidden = true;
  }

  /**
   * Note that the whole text was on the screen at `now`.
   * @param {string} text
   * @param {number} now
   */
  paintedWhole(text, now) {
    this.text = text;
    this.painted(now);
  }

  /**
   * The browser's own stamps; null when unknown or the page was not on view.
   * @returns {import("./types.js").PaintStamps | null}
   */
  get stamps() {
    const { firstPaintAt, lastPaintAt } = this;
    if (this.#sentAt === null || firstPaintAt === null || lastPaintAt === null || this.#wasHidden) return null;
    return { first: firstPaintAt - this.#sentAt, last: lastPaintAt - this.#sentAt };
  }

  /** The phase in words with its numbers. */
  words() {
    const { place = 0, done = 0, total = 0 } = this.#phase;
    const phase = this.phase;
    if (phase === "queued" && !isServed(this.model)) return translate("phase_unserved", { model: nameOf(this.model) });
    if (phase === "writing") return this.#wordsOfWriting();
    if (phase === "stopping") return translate("phase_stopping");
    if (place) return translate(`phase_${phase}_place`, { place: figureFormat.count(place) });
    if (done && total) return translate(`phase_${phase}_share`, { share: figureFormat.count((100 * done) / total) });
    return translate(`phase_${phase}`);
  }

  /** The phase for those who hear it: without numbers that change all the time. */
  spoken() {
    return this.#phase.place || this.phase === "queued" ? this.words() : translate(`phase_${this.phase}`);
  }

  #wordsOfWriting() {
    const silence = this.#silenceMs();
    if (silence > SILENCE_MS) {
      return translate("phase_writing_silent", { seconds: figureFormat.count(silence / 1000) });
    }
    const speed = this.#speed();
    return speed ? translate("phase_writing_speed", { speed: figureFormat.rate(speed) }) : translate("phase_writing");
  }

  #silenceMs() {
    return performance.now() - (this.#arrivals.at(-1)?.[0] ?? performance.now());
  }

  #speed() {
    const [first, last] = [this.#arrivals[0], this.#arrivals.at(-1)];
    const ms = first && last ? last[0] - first[0] : 0;
    return first && last && ms > 200 ? (1000 * (last[1] - first[1])) / ms : 0;
  }
}

const nameOf = (/** @type {string} */ model) => page.models.find(({ slug }) => slug === model)?.name ?? model;

/**
 * @param {Message} message
 * @returns {PhaseState}
 */
const phaseOf = ({ state }) => ({ phase: state === "running" ? "writing" : state });
