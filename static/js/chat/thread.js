// The messages of the open conversation. Paints at most once a frame, whatever comes in.

import { MessageView } from "./message-view.js";

export class Thread {
  #root;
  #follow;
  #onAction;
  #views = new Map(); // message id → MessageView
  #dirty = new Map(); // message id → LiveAnswer
  #frame = 0;

  constructor(root, follow, onAction) {
    this.#root = root;
    this.#follow = follow;
    this.#onAction = onAction;
    setInterval(() => this.#refreshPhases(), 500);
  }

  clear() {
    this.#views.clear();
    this.#dirty.clear();
    this.#root.replaceChildren();
  }

  /** Show a conversation's branch; nodes of messages that stay are kept. */
  show(conversation, liveAnswers) {
    const branch = conversation.branch();
    const wanted = new Set(branch.map((message) => message.id));
    for (const [id, view] of this.#views) {
      if (!wanted.has(id)) {
        view.element.remove();
        this.#views.delete(id);
      }
    }
    branch.forEach((message, index) => {
      const view = this.#views.get(message.id) ?? this.#make(message);
      const siblings = conversation.siblings(message);
      const place = [siblings.findIndex((m) => m.id === message.id) + 1, siblings.length];
      view.show(message, place, { isLast: index === branch.length - 1 });
      const live = liveAnswers.get(message.request);
      if (live && message.state !== "done") view.showLive(live);
      if (this.#root.children[index] !== view.element) {
        this.#root.insertBefore(view.element, this.#root.children[index] ?? null);
      }
    });
    this.#follow.grown();
  }

  /** Note that a live answer changed; it is painted with the next frame. */
  touch(live) {
    this.#dirty.set(live.message, live);
    this.#frame ||= requestAnimationFrame(() => this.#paint());
  }

  #make(message) {
    const view = new MessageView(message, this.#onAction);
    this.#views.set(message.id, view);
    return view;
  }

  #paint() {
    this.#frame = 0;
    for (const [id, live] of this.#dirty) {
      this.#views.get(id)?.showLive(live);
      live.painted();
    }
    this.#dirty.clear();
    this.#follow.grown();
  }

  #refreshPhases() {
    this.#onAction("tick");
  }
}
