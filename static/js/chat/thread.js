// The messages of the open conversation. Paints at most once a frame, whatever comes in. Of a long
// thread only what is near the view has nodes (thread-window.js).

import { afterFrame, afterPaint } from "./browser.js";
import { MessageView } from "./message-view.js";
import { ThreadWindow } from "./thread-window.js";

/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./unfinished-answer.js").UnfinishedAnswer} UnfinishedAnswer */

export class Thread {
  #root;
  #scroll;
  #on;
  #window;
  /** @type {Map<string, MessageView>} by message */
  #views = new Map();
  /** @type {Set<UnfinishedAnswer>} those that changed since the last frame */
  #dirty = new Set();
  #frame = 0;
  /** @type {{ conversation: import("./conversation.js").Conversation, answers: import("./unfinished-answers.js").UnfinishedAnswers, branch: Message[] } | null} */
  #shown = null;
  /** @type {string | null} */
  #edited = null;
  /** @type {string | null} the message that the Tab key leads to; null: the last */
  #current = null;

  /**
   * `act` is called for every button under a message, `missing` with the last of the messages near
   * the view that have no text yet.
   * @param {HTMLElement} root
   * @param {import("./scroll-follower.js").ScrollFollower} scroll
   * @param {{ act: import("./message-view.js").OnAction, missing: (id: string) => void }} on
   */
  constructor(root, scroll, on) {
    this.#root = root;
    this.#scroll = scroll;
    this.#on = on;
    this.#window = new ThreadWindow(root, scroll);
    let isWaiting = false;
    scroll.onScroll(() => {
      if (isWaiting) return;
      isWaiting = true;
      requestAnimationFrame(() => {
        isWaiting = false;
        if (this.#window.isLeft()) this.#draw();
      });
    });
    root.addEventListener("focusin", ({ target }) => {
      const message = target instanceof Element ? target.closest(".message") : null;
      if (message instanceof HTMLElement) this.#setCurrent(message.dataset.id ?? null);
    });
  }

  /**
   * Show a conversation's branch; nodes of messages that stay are kept.
   * @param {import("./conversation.js").Conversation} conversation
   * @param {import("./unfinished-answers.js").UnfinishedAnswers} answers
   */
  show(conversation, answers) {
    if (conversation !== this.#shown?.conversation) this.#current = null;
    this.#shown = { conversation, answers, branch: conversation.branch() };
    this.#draw();
  }

  /**
   * The view of a message that is shown.
   * @param {string} id
   */
  view(id) {
    return this.#views.get(id);
  }

  /**
   * Bring the window of a long thread to this message: its view, if it is in the shown branch.
   * @param {string} id
   */
  reveal(id) {
    if (!this.#views.has(id)) {
      const at = this.#shown?.branch.findIndex((message) => message.id === id) ?? -1;
      if (at >= 0) this.#scroll.moveTo(this.#window.topOf(at));
      if (at >= 0) this.#draw();
    }
    return this.#views.get(id);
  }

  /**
   * Mark the question that another version is being written of.
   * @param {string | null} id
   */
  markEdited(id) {
    this.#views.get(this.#edited ?? "")?.element.classList.remove("edited");
    this.#edited = id;
    const element = this.#views.get(id ?? "")?.element;
    element?.classList.add("edited");
    element?.scrollIntoView({ block: "nearest" });
  }

  /**
   * Put the keyboard's focus on the message so many places from the one that has it.
   * @param {number} step
   */
  focusMessage(step) {
    const branch = this.#shown?.branch ?? [];
    const at = branch.findIndex(({ id }) => id === this.#current);
    const next = branch[Math.max(0, Math.min(branch.length - 1, (at < 0 ? branch.length : at) + step))];
    const view = next && this.#views.get(next.id);
    view?.element.focus();
    view?.element.scrollIntoView({ block: "nearest" });
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
    const painted = changed.filter((answer) => {
      const view = this.#views.get(answer.message);
      if (!view) answer.missed();
      return view?.showUnfinished(answer);
    });
    this.#scroll.grown();
    if (painted.length) after((now) => painted.forEach((answer) => answer.painted(now)));
  }

  #draw() {
    if (!this.#shown) return;
    const { conversation, answers, branch } = this.#shown;
    const { first, last } = this.#window.choose(branch);
    const messages = branch.slice(first, last);
    this.#window.change(() => {
      const wanted = new Set(messages.map(({ id }) => id));
      for (const [id, view] of this.#views) {
        if (wanted.has(id)) continue;
        view.element.remove();
        this.#views.delete(id);
      }
      messages.forEach((message, index) => {
        const view = this.#views.get(message.id) ?? this.#make(message);
        const siblings = conversation.siblings(message);
        const which = siblings.findIndex((m) => m.id === message.id) + 1;
        const isLast = first + index === branch.length - 1;
        view.show(message, { which, of: siblings.length, isLast });
        view.setCurrent(this.#current ? message.id === this.#current : isLast);
        const answer = answers.get(message.request);
        if (answer && message.state !== "done") view.showUnfinished(answer);
        if (messages.length < branch.length) view.showNow();
        const next = this.#root.children[index + 1]; // behind the first spacer
        if (next !== view.element) this.#root.insertBefore(view.element, next ?? null);
      });
    });
    this.#scroll.grown();
    const missing = messages.findLast((message) => message.isStub);
    if (missing) this.#on.missing(missing.id);
  }

  /** @param {string | null} id */
  #setCurrent(id) {
    if (id === this.#current) return;
    this.#views.get(this.#current ?? this.#shown?.branch.at(-1)?.id ?? "")?.setCurrent(false);
    this.#current = id;
    this.#views.get(id ?? "")?.setCurrent(true);
  }

  /** @param {Message} message */
  #make(message) {
    const view = new MessageView(message, this.#on.act);
    view.element.classList.toggle("edited", message.id === this.#edited);
    this.#views.set(message.id, view);
    return view;
  }
}
