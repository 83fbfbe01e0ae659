// The answers that have not ended: asked for, followed over the socket, stopped, painted by the
// thread, and their paint reported in the end.

import { hideAsked, isAskedIn, showAsked } from "./asked-messages.js";
import { afterPaint } from "./browser.js";
import { byId } from "../dom.js";
import { translate } from "./i18n.js";
import { endOf } from "./message-view.js";
import { UnfinishedAnswer } from "./unfinished-answer.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./types.js").Ask} Ask */
/** @typedef {import("./types.js").Message} Message */

export class UnfinishedAnswers {
  /** @type {Map<string, UnfinishedAnswer>} by request */
  #answers = new Map();
  #outbox;
  #socket;
  #thread;
  #announcer = byId("announcer");
  #announced = "";

  /** @param {{ outbox: import("./outbox.js").Outbox, socket: import("./socket.js").ChatSocket, thread: import("./thread.js").Thread }} parts */
  constructor({ outbox, socket, thread }) {
    this.#outbox = outbox;
    this.#socket = socket;
    this.#thread = thread;
    setInterval(() => this.#tick(), 500);
  }

  /** @param {string | null} request */
  get(request) {
    return request === null ? undefined : this.#answers.get(request);
  }

  // --- what a person asks ----------------------------------------------------------------------

  /**
   * Ask in this conversation: shown at once, sent now or when there is a connection.
   * `editing`: the question that this is another version of.
   * @param {Ask} frame
   * @param {Conversation} conversation
   * @param {import("./composer.js").Edited | null} editing
   */
  ask(frame, conversation, editing = null) {
    this.#outbox.put(frame, editing);
    this.#show(frame, conversation, performance.now());
    this.#socket.send(frame);
  }

  /**
   * Show what was asked in this conversation and the site has not accepted, also since a reload.
   * @param {Conversation} conversation
   */
  showAsked(conversation) {
    const asked = this.#outbox.frames.filter((frame) => isAskedIn(frame, conversation));
    const shown = conversation.id === null ? asked.slice(-1) : asked; // each begins a chat of its own
    for (const frame of shown) this.#show(frame, conversation, null);
  }

  /**
   * Send what tabs that are no more had not sent, and show what of it was asked here. A new chat of
   * theirs comes into the list when it is stored: the one that is open here is another.
   * @param {() => Conversation} opened
   * @param {() => void} onShown
   */
  async adopt(opened, onShown) {
    const frames = await this.#outbox.adopt();
    for (const frame of frames) this.#socket.send(frame);
    for (const frame of frames) {
      const isNew = frame.type === "send" && frame.conversation === null;
      if (!isNew && isAskedIn(frame, opened())) this.#show(frame, opened(), null);
    }
    if (frames.length) onShown();
  }

  /**
   * Ask that an answer stops. One that was not sent yet is taken back: its entry is returned.
   * @param {UnfinishedAnswer} answer
   * @param {Conversation} conversation
   */
  stop(answer, conversation) {
    if (answer.frame && !this.#socket.isOpen) return this.takeBack(answer.request, conversation);
    answer.stop();
    this.#touch(answer);
    if (!answer.frame) this.#sendStop(answer);
    return undefined;
  }

  /**
   * The site has refused what was asked, or it is not wanted: hide it, and return its entry.
   * @param {string} request
   * @param {Conversation} conversation
   */
  takeBack(request, conversation) {
    const entry = this.#outbox.take(request);
    if (entry) hideAsked(entry.frame, conversation);
    this.forget(request);
    return entry;
  }

  /**
   * As `takeBack`, for the largest frame: sent again, it would close every further socket.
   * @param {Conversation} conversation
   */
  takeBackLargest(conversation) {
    const entry = this.#outbox.takeLargest();
    if (entry) hideAsked(entry.frame, conversation);
    if (entry) this.forget(entry.frame.request);
    return entry;
  }

  // --- what the site says ----------------------------------------------------------------------

  /**
   * The site has stored what was asked. Whether it was this tab that asked. An answer that goes on
   * already, for another page's request, is told with that one.
   * @param {string} request
   * @param {Message} message
   */
  accepted(request, message) {
    const wasAsked = this.#outbox.take(request) !== undefined;
    const answer = this.#answers.get(request);
    if (answer?.frame && answer.isStopping) this.#sendStop(answer);
    if (message.request !== request) this.forget(request);
    else if (answer?.frame) answer.accept(message);
    return wasAsked;
  }

  /**
   * Follow an answer that the site has, if it has not ended.
   * @param {Message} message
   */
  follow(message) {
    const { request } = message;
    if (message.role !== "assistant" || message.state === "done" || message.state === "sending" || !request) return;
    if (this.#answers.has(request)) return;
    const answer = new UnfinishedAnswer(request, message);
    this.#answers.set(request, answer);
    this.#watch(answer);
  }

  /**
   * Follow it no longer; it goes on at the site.
   * @param {string} request
   */
  unfollow(request) {
    this.forget(request);
    this.#socket.send({ type: "unwatch", request });
  }

  /** Another conversation is opened: what was asked is kept, what is being made goes on unwatched. */
  leave() {
    for (const answer of [...this.#answers.values()]) {
      if (answer.frame) this.#thread.forget(answer);
      else this.unfollow(answer.request);
    }
  }

  /**
   * Forget an answer that is none any more.
   * @param {string} request
   */
  forget(request) {
    const answer = this.#answers.get(request);
    if (answer) this.#thread.forget(answer);
    this.#answers.delete(request);
  }

  /**
   * The connection came or went. Whatever is missing is asked for again.
   * @param {boolean} isOpen
   */
  connected(isOpen) {
    if (isOpen) for (const frame of this.#outbox.frames) this.#socket.send(frame);
    for (const answer of this.#answers.values()) {
      if (answer.frame) answer.enter({ phase: isOpen ? "sending" : "offline" });
      else if (isOpen) {
        this.#watch(answer);
        if (answer.isStopping) this.#sendStop(answer);
      }
      this.#touch(answer);
    }
  }

  /** Say anew how far each is. */
  touchAll() {
    for (const answer of this.#answers.values()) this.#touch(answer);
  }

  /** @param {import("./types.js").Phase} frame */
  phase(frame) {
    const answer = this.#answers.get(frame.request);
    if (!answer) return;
    answer.enter(frame);
    this.#touch(answer);
  }

  /** @param {import("./types.js").Delta} frame */
  delta(frame) {
    const answer = this.#answers.get(frame.request);
    if (answer?.append(frame)) this.#touch(answer);
  }

  /**
   * An answer has ended as `message`. `onPaint` is called with the browser's stamps when its last
   * paint is known; the site is told by itself.
   * @param {string} request
   * @param {Message} message
   * @param {(stamps: import("./types.js").PaintStamps) => void} onPaint
   */
  ended(request, message, onPaint) {
    const answer = this.#answers.get(request);
    if (!answer) return;
    this.#thread.paint(); // what came with the same frame
    this.forget(request);
    this.#announce(endOf(message) || translate("answered"));
    const hasMore = message.text !== answer.text; // than the deltas brought before their end
    afterPaint((now) => {
      if (hasMore) answer.paintedWhole(message.text, now);
      const { stamps } = answer;
      if (!stamps) return;
      const us = (/** @type {number} */ ms) => Math.round(1000 * ms);
      const [first_paint_us, last_paint_us] = [us(stamps.first), us(stamps.last)];
      this.#socket.send({ type: "painted", request, first_paint_us, last_paint_us });
      onPaint(stamps);
    });
  }

  // --- parts -----------------------------------------------------------------------------------

  /**
   * @param {Ask} frame
   * @param {Conversation} conversation
   * @param {number | null} sentAt
   */
  #show(frame, conversation, sentAt) {
    const message = showAsked(frame, conversation);
    if (!message || this.#answers.has(frame.request)) return;
    const answer = new UnfinishedAnswer(frame.request, message, { frame, sentAt });
    if (!this.#socket.isOpen) answer.enter({ phase: "offline" });
    this.#answers.set(frame.request, answer);
  }

  /** @param {UnfinishedAnswer} answer */
  #watch({ request, position }) {
    this.#socket.send({ type: "watch", request, position });
  }

  /** @param {UnfinishedAnswer} answer */
  #sendStop({ message }) {
    this.#socket.send({ type: "stop", message });
  }

  /** @param {UnfinishedAnswer} answer */
  #touch(answer) {
    this.#thread.touch(answer);
    this.#announce(answer.spoken());
  }

  /**
   * Words for those who can't see the page; the same ones only once.
   * @param {string} words
   */
  #announce(words) {
    if (words !== this.#announced) this.#announcer.textContent = this.#announced = words;
  }

  #tick() {
    for (const answer of this.#answers.values()) if (answer.phase === "writing") this.#thread.touch(answer);
  }
}
