// What the site sends, handed to the page's parts.

import { byId } from "../dom.js";
import { translate } from "./i18n.js";
import { setServed } from "./serving.js";

/**
 * @typedef {object} Parts
 * @property {import("./conversation-controller.js").ConversationController} controller
 * @property {import("./unfinished-answers.js").UnfinishedAnswers} answers
 * @property {import("./sidebar.js").Sidebar} sidebar
 * @property {import("./composer.js").Composer} composer
 * @property {import("./scroll-follower.js").ScrollFollower} scroll
 */

export class FrameReceiver {
  #controller;
  #answers;
  #sidebar;
  #composer;
  #scroll;
  /** @type {string | null} */
  #elsewhere = null;

  /** @param {Parts} parts */
  constructor({ controller, answers, sidebar, composer, scroll }) {
    this.#controller = controller;
    this.#answers = answers;
    this.#sidebar = sidebar;
    this.#composer = composer;
    this.#scroll = scroll;
  }

  get #conversation() {
    return this.#controller.conversation;
  }

  /** @param {import("./types.js").Outgoing} frame */
  take(frame) {
    switch (frame.type) {
      case "welcome":
      case "serving":
        setServed(frame.served);
        byId("disk-low").hidden = !frame.is_disk_low;
        return this.#answers.touchAll();
      case "accepted":
        return this.#accepted(frame);
      case "phase":
        return this.#answers.phase(frame);
      case "delta":
        return this.#answers.delta(frame);
      case "ended":
        return this.#ended(frame);
      case "changed":
        return this.#changed(frame);
      case "error":
        return this.#refused(frame);
    }
  }

  /** The site would not read a frame, and didn't say which: the largest is taken back. */
  tooBig() {
    const entry = this.#answers.takeBackLargest(this.#conversation);
    this.#controller.takeBack(entry);
    const place = entry && this.#placeOf(entry);
    if (place !== undefined) this.#composer.noteIn(place, translate("too_large"));
  }

  /** @param {import("./types.js").Accepted} frame */
  #accepted({ request, conversation, messages }) {
    const isShown = messages.some(({ id }) => this.#conversation.get(id));
    const answer = messages[messages.length - 1];
    const wasAsked = this.#answers.accepted(request, answer);
    this.#sidebar.put(conversation);
    if (!isShown && conversation.id !== this.#controller.id) {
      if (wasAsked) this.#answers.unfollow(request); // another conversation has been opened since
      return;
    }
    if (!this.#controller.id) this.#controller.becomes(conversation.id);
    this.#conversation.hearView(conversation);
    for (const message of messages) this.#conversation.hear(message, { isShown: wasAsked });
    if (wasAsked) this.#conversation.show(answer.id);
    this.#answers.follow(answer);
    this.#controller.draw();
    if (wasAsked) this.#scroll.jump();
    else if (!this.#conversation.branch().some(({ id }) => id === answer.id)) this.#offerElsewhere(answer.id);
  }

  /**
   * Another window asks on in a branch that isn't shown here: the reader's own stays.
   * @param {string | null} answer
   */
  #offerElsewhere(answer) {
    this.#elsewhere = answer;
    byId("elsewhere").hidden = answer === null;
  }

  /** The reader has chosen what to see. */
  forgetElsewhere() {
    this.#offerElsewhere(null);
  }

  /** Show the branch that another window has gone on with. */
  showElsewhere() {
    const answer = this.#elsewhere;
    this.#offerElsewhere(null);
    if (answer) this.#conversation.show(answer);
    this.#controller.draw();
    this.#scroll.jump();
  }

  /** @param {import("./types.js").Ended} frame */
  #ended({ request, message }) {
    this.#answers.ended(request, message, (stamps) => this.#addStamps(message.id, stamps));
    this.#controller.update(message);
  }

  /**
   * The browser's own stamps join the figures that the site has just given.
   * @param {string} id
   * @param {import("./types.js").PaintStamps} stamps
   */
  #addStamps(id, { first, last }) {
    const message = this.#conversation.get(id);
    if (message?.figures?.latency_ms == null) return;
    const delivery_ms = last - message.figures.latency_ms;
    const figures = { ...message.figures, user_ttft_ms: first, user_latency_ms: last, delivery_ms };
    this.#controller.update({ ...message, figures });
  }

  /** @param {import("./types.js").Changed} frame */
  #changed({ conversation, view }) {
    if (!view) {
      this.#sidebar.remove(conversation);
      if (conversation === this.#controller.id) this.#controller.lost();
      return;
    }
    this.#sidebar.put(view);
    if (conversation !== this.#controller.id) return;
    this.#conversation.hearView(view);
    this.#controller.draw();
  }

  /** @param {import("./types.js").Refused} frame */
  #refused({ request, code, text }) {
    let entry = request ? this.#answers.takeBack(request, this.#conversation) : undefined;
    // The conversation is gone, perhaps deleted in another tab: the text waits in the new chat.
    if (entry?.frame.type === "send" && code === "not_found") {
      entry = { frame: { ...entry.frame, conversation: null }, editing: null };
    }
    const place = entry && this.#placeOf(entry);
    this.#controller.takeBack(entry);
    if (entry && place !== undefined) this.#composer.noteIn(place, text);
    else if (!request) this.#composer.note(text); // not of an answer that isn't there any more
  }

  /**
   * The conversation in which something was asked (null: the new chat); undefined: one that isn't open and isn't named.
   * @param {import("./outbox.js").Entry} entry
   */
  #placeOf({ frame }) {
    if (frame.type === "send") return frame.conversation;
    return this.#conversation.get(frame.message) ? this.#controller.id : undefined;
  }
}
