// The last deletion that can be undone: a line at the foot of the sidebar, also after a reload, and
// for a while a toast where the sidebar is out of sight.

import { byId, part } from "../dom.js";
import { post } from "./http.js";
import { translate } from "./i18n.js";

const TOAST_MS = 10_000;
const DISMISSED = "dismissed-deletion";

/** @typedef {{ at: string, count: number, title: string }} Deletion */

export class UndoBar {
  #line = byId("undo");
  #toast = byId("toast");
  #timer = 0;
  /** @type {Promise<Deletion | null> | null} the deletion on show, once the site has made it */
  #deletion = null;
  /** @type {(deletion: Deletion) => void} */
  #onUndone = () => {};
  #onFailed;

  /** @param {() => void} onFailed */
  constructor(onFailed) {
    this.#onFailed = onFailed;
    for (const bar of [this.#line, this.#toast]) {
      part(bar, "[data-undo]").addEventListener("click", () => this.#undo());
      part(bar, "[data-dismiss]").addEventListener("click", () => this.#dismiss());
    }
  }

  /**
   * A deletion is being made here. `onUndone` is called when it has been undone.
   * @param {string} title
   * @param {Promise<Deletion | null>} deletion
   * @param {() => void} onUndone
   */
  began(title, deletion, onUndone) {
    this.#deletion = deletion;
    this.#onUndone = onUndone;
    this.#write(translate("deleted", { title }));
    const isInSight = byId("sidebar").checkVisibility({ visibilityProperty: true });
    this.#toast.hidden = isInSight;
    clearTimeout(this.#timer);
    if (!isInSight) this.#timer = setTimeout(() => (this.#toast.hidden = true), TOAST_MS);
    part(isInSight ? this.#line : this.#toast, "[data-undo]").focus();
  }

  /**
   * What the site knows of: made before a reload, in another tab, or in the history.
   * @param {Deletion | null} deletion
   * @param {() => void} onUndone
   */
  know(deletion, onUndone) {
    if (!deletion || deletion.at === sessionStorage.getItem(DISMISSED)) return this.hide();
    this.#deletion = Promise.resolve(deletion);
    this.#onUndone = onUndone;
    const { count, title } = deletion;
    this.#write(
      count === 1
        ? translate("deleted", { title: title || translate("new_chat") })
        : translate("deleted_many", { count: String(count) }),
    );
  }

  hide() {
    this.#deletion = null;
    this.#line.hidden = this.#toast.hidden = true;
  }

  /** @param {string} text */
  #write(text) {
    for (const bar of [this.#line, this.#toast]) part(bar, "span").textContent = text;
    this.#line.hidden = false;
  }

  async #undo() {
    const onUndone = this.#onUndone;
    try {
      const deletion = await this.#deletion;
      if (!deletion) return;
      await post("/conversations/restore/", { at: deletion.at });
      this.hide();
      onUndone(deletion);
    } catch {
      this.#onFailed();
    }
  }

  async #dismiss() {
    const deletion = this.#deletion;
    this.hide();
    const made = await deletion?.catch(() => null);
    if (made) sessionStorage.setItem(DISMISSED, made.at);
  }
}
