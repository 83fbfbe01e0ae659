// The messages of the open conversation. Paints at most once a frame, whatever comes in.

import { afterFrame, afterPaint } from "./browser.js";
import { MessageView } from "./message-view.js";

/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./unfinished-answer.js").UnfinishedAnswer} UnfinishedAnswer */

export class Thread {
  #root;
  #scroll;
  #onAction;
  /** @type {Map<string, MessageView>} by message */
  #views = new Map();
  /** @type {Set<UnfinishedAnswer>} those that changed since the last frame */
  #dirty = new Set();
  #frame = 0;

  /**
   * @param {HTMLElement} root
   * @param {import("./scroll-follower.js").ScrollFollower} scroll
   * @param {import("./message-view.js").OnAction} onAction called for every button under a message
   */
  constructor(root, scroll, onAction) {
    this.#root = root;
    this.#scroll = scroll;
    this.#onAction = onAction;
  }

  /**
   * Show a conversation's branch; nodes of messages that stay are kept.
   * @param {import("./conversation.js").Conversation} conversation
   * @param {import("./unfinished-answers.js").UnfinishedAnswers} answers
   */
  show(conversation, answers) {
    const branch = conversation.branch();
    const wanted = new Set(branch.map((message) => message.id));
    for (const [id, view] of this.#views) {
      if (wanted.has(id)) continue;
      view.element.remove();
      this.#views.delete(id);
    }
    branch.forEach((message, index) => {
      const view = this.#views.get(message.id) ?? this.#make(message);
      const siblings = conversation.siblings(message);
      const which = siblings.findIndex((m) => m.id === message.id) + 1;
      view.show(message, { which, of: siblings.length, isLast: index === branch.length - 1 });
      const answer = answers.get(message.request);
      if (answer && message.state !== "done") view.showUnfinished(answer);
      if (this.#root.children[index] !== view.element) {
        this.#root.insertBefore(view.element, this.#root.children[index] ?? null);
      }
    });
    this.#scroll.grown();
  }

  /**
   * The view of a message that is shown.
   * @param {string} id
   */
  view(id) {
    return this.#views.get(id);
  }

  /**
   * Note that an answer changed; it is painted with the next frame.
   * @param {UnfinishedAnswer} answer
   */
  touch(answer) {
    this.#dirty.add(answer);
    this.#frame ||= requestAnimationFrame(() => this.paint(afterFrame));
  }

  /**
   * Don't paint this one any more.
   * @param {UnfinishedAnswer} answer
   */
  forget(answer) {
    this.#dirty.delete(answer);
  }

  /** Paint what changed, now; `after` calls back when it is on the screen. */
  paint(after = afterPaint) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const changed = [...this.#dirty];
    this.#dirty.clear();
    const painted = changed.filter((answer) => this.#views.get(answer.message)?.showUnfinished(answer));
    this.#scroll.grown();
    if (painted.length) after((now) => painted.forEach((answer) => answer.painted(now)));
  }

  /** @param {Message} message */
  #make(message) {
    const view = new MessageView(message, this.#onAction);
    this.#views.set(message.id, view);
    return view;
  }
}
