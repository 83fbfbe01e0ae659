// The messages of the open conversation. Paints at most once a frame, whatever comes in.

import { afterFrame, afterPaint } from "./browser.js";
import { MessageView } from "./message-view.js";

export class Thread {
  #root;
  #follow;
  #onAction;
  #views = new Map(); // message id → MessageView
  #dirty = new Set(); // live answers that changed since the last frame
  #frame = 0;

  /** `onAction(name, message, button)` is told of every button under a message. */
  constructor(root, follow, onAction) {
    this.#root = root;
    this.#follow = follow;
    this.#onAction = onAction;
  }

  /** Show a conversation's branch; nodes of messages that stay are kept. */
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
      const place = [siblings.findIndex((m) => m.id === message.id) + 1, siblings.length];
      view.show(message, place, { isLast: index === branch.length - 1 });
      const live = answers.get(message.request);
      if (live && message.state !== "done") view.showLive(live);
      if (this.#root.children[index] !== view.element) {
        this.#root.insertBefore(view.element, this.#root.children[index] ?? null);
      }
    });
    this.#follow.grown();
  }

  /** The view of a message that is shown. */
  view(id) {
    return this.#views.get(id);
  }

  /** Note that a live answer changed; it is painted with the next frame. */
  touch(live) {
    this.#dirty.add(live);
    this.#frame ||= requestAnimationFrame(() => this.paint(afterFrame));
  }

  /** Don't paint this one any more. */
  forget(live) {
    this.#dirty.delete(live);
  }

  /** Paint what changed, now; `after` calls back when it is on the screen. */
  paint(after = afterPaint) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const changed = [...this.#dirty];
    this.#dirty.clear();
    const painted = changed.filter((live) => this.#views.get(live.message)?.showLive(live));
    this.#follow.grown();
    if (painted.length) after((now) => painted.forEach((live) => live.painted(now)));
  }

  #make(message) {
    const view = new MessageView(message, this.#onAction);
    this.#views.set(message.id, view);
    return view;
  }
}
