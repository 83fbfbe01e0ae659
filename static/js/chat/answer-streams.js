// The answers that are being made: followed over the socket, painted by the thread, and their
// paint reported when they have ended.

import { afterPaint } from "./browser.js";
import { StreamingAnswer } from "./streaming-answer.js";
import { endOf } from "./message-view.js";
import { translate } from "./i18n.js";

export class AnswerStreams {
  #live = new Map(); // request → StreamingAnswer
  #socket;
  #thread;
  #announcer = document.getElementById("announcer");
  #announced = "";

  constructor(socket, thread) {
    this.#socket = socket;
    this.#thread = thread;
    setInterval(() => this.#tick(), 500);
  }

  get(request) {
    return this.#live.get(request);
  }

  /** Show `message` as being made; it has no request on the site yet. */
  expect(message) {
    const live = new StreamingAnswer(message);
    if (!this.#socket.isOpen) live.enter("offline");
    this.#live.set(message.request, live);
  }

  /**
   * Follow an unfinished answer. `asked` is {sentAt} when this page's own frame started it: then
   * the site streams it by itself.
   */
  follow(message, asked = null) {
    if (message.role !== "assistant" || message.state === "done" || !message.request) return;
    if (this.#live.has(message.request)) return;
    const live = new StreamingAnswer(message, asked?.sentAt ?? null);
    this.#live.set(message.request, live);
    const position = () => live.position;
    if (asked) this.#socket.expect(message.request, position);
    else this.#socket.follow(message.request, position);
  }

  /** Forget an answer that was not made after all. */
  forget(request) {
    const live = this.#live.get(request);
    if (live) this.#thread.forget(live);
    this.#live.delete(request);
  }

  /** Follow none of them any longer; they go on at the site. */
  leave() {
    for (const [request, live] of this.#live) {
      this.#thread.forget(live);
      if (live.phase !== "sending" && live.phase !== "offline") this.#socket.unfollow(request);
    }
    this.#live.clear();
  }

  /** Ask that it stops; asked again after a reconnect. */
  stop(live) {
    live.stop();
    this.#show(live);
    this.#socket.tell({ type: "stop", message: live.message });
  }

  /** The connection came or went. */
  connected(isOpen) {
    for (const live of this.#live.values()) {
      if (isOpen && live.isStopping) this.#socket.tell({ type: "stop", message: live.message });
      if (isOpen && live.phase === "offline") live.enter("sending");
      if (!isOpen && live.phase === "sending") live.enter("offline");
      this.#show(live);
    }
  }

  phase(frame) {
    const live = this.#live.get(frame.request);
    if (!live) return;
    live.enter(frame);
    this.#show(live);
  }

  delta(frame) {
    const live = this.#live.get(frame.request);
    if (live?.take(frame)) this.#show(live);
  }

  /**
   * An answer has ended as `message`. `onPaint(stamps)` is called with the browser's stamps in ms when its last
   * paint is known; the site is told by itself.
   */
  ended(message, onPaint) {
    const { request } = message;
    const live = this.#live.get(request);
    if (!live) return;
    this.#thread.paint(); // what came with the same frame
    this.#thread.forget(live);
    this.#live.delete(request);
    this.#announce(endOf(message) || translate("answered"));
    const hasMore = message.text !== live.text; // than the deltas brought before their end
    afterPaint((now) => {
      if (hasMore) live.paintedWhole(message.text, now);
      const { stamps } = live;
      if (!stamps) return;
      const us = (ms) => Math.round(1000 * ms);
      const [first_paint_us, last_paint_us] = [us(stamps.first), us(stamps.last)];
      this.#socket.tell({ type: "painted", request, first_paint_us, last_paint_us });
      onPaint(stamps);
    });
  }

  #show(live) {
    this.#thread.touch(live);
    this.#announce(live.spoken());
  }

  /** Words for those who can't see the page; the same ones only once. */
  #announce(words) {
    if (words !== this.#announced) this.#announcer.textContent = this.#announced = words;
  }

  #tick() {
    for (const live of this.#live.values()) if (live.phase === "writing") this.#thread.touch(live);
  }
}
