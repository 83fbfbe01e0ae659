// Deletions that can still be undone: carried out when their time is over, when the next one
// begins, or when the page is left.

import { byId, part } from "../dom.js";
import { translate } from "./i18n.js";

const UNDO_MS = 6000;

export class PendingDeletions {
  /** @type {Map<string, number>} id → timer */
  #timers = new Map();
  #toast = byId("toast");
  #undo = part(this.#toast, "button");
  #carryOut;

  /** @param {(id: string, options: { isLast: boolean }) => void} carryOut */
  constructor(carryOut) {
    this.#carryOut = carryOut;
    addEventListener("pagehide", () => this.#carryOutAll());
  }

  /** @param {string} id */
  has(id) {
    return this.#timers.has(id);
  }

  /**
   * Begin a deletion; `onUndo` is called when it is taken back.
   * @param {string} id
   * @param {string} title
   * @param {() => void} onUndo
   */
  start(id, title, onUndo) {
    this.#carryOutAll();
    this.#timers.set(id, setTimeout(() => this.#end(id, { isLast: false }), UNDO_MS));
    part(this.#toast, "span").textContent = translate("deleted", { title });
    this.#undo.onclick = () => {
      clearTimeout(this.#timers.get(id));
      this.#timers.delete(id);
      this.#toast.hidden = true;
      onUndo();
    };
    this.#toast.hidden = false;
  }

  /** Put the keyboard's focus on "Undo". */
  focus() {
    this.#undo.focus();
  }

  /**
   * @param {string} id
   * @param {{ isLast: boolean }} options
   */
  #end(id, options) {
    this.#timers.delete(id);
    this.#toast.hidden = true;
    this.#carryOut(id, options);
  }

  #carryOutAll() {
    for (const [id, timer] of this.#timers) {
      clearTimeout(timer);
      this.#end(id, { isLast: true });
    }
  }
}
