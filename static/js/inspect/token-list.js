// Tokens as flowing text in which one is chosen: by pointer, or by the arrow keys. Used for the
// answer, for the prompt, and for the words over the gaps.

import { around } from "../dom.js";
import { visible } from "./trace.js";

export class TokenList {
  /** @type {HTMLElement[]} */
  items = [];
  #element;
  /** @type {HTMLElement | null} */
  #chosen = null;

  /**
   * @param {HTMLElement} element
   * @param {{ texts: string[], choose: (place: number) => void, move: (by: number) => void }} options
   */
  constructor(element, { texts, choose, move }) {
    this.#element = element;
    const all = document.createDocumentFragment();
    this.items = texts.map((text, place) => {
      const item = document.createElement("span");
      item.className = "tok";
      item.role = "option";
      item.id = `${element.id}-${place}`;
      item.dataset.place = String(place);
      showText(item, text);
      all.append(item);
      if (/\n$/.test(text)) all.append(document.createElement("br"));
      return item;
    });
    element.replaceChildren(all);
    element.addEventListener("click", (event) => {
      const item = around(event, ".tok");
      if (item && !getSelection()?.toString()) choose(Number(item.dataset.place));
    });
    element.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const by = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key] ?? this.#linesTo(event.key);
      if (!by) return;
      event.preventDefault();
      move(by);
    });
  }

  /**
   * Show which one is chosen; null: none of these.
   * @param {number | null} place
   */
  choose(place) {
    this.#chosen?.removeAttribute("aria-selected");
    this.#chosen = place === null ? null : (this.items[place] ?? null);
    this.#chosen?.setAttribute("aria-selected", "true");
    if (this.#chosen) this.#element.setAttribute("aria-activedescendant", this.#chosen.id);
    else this.#element.removeAttribute("aria-activedescendant");
    if (this.#chosen) scrollInside(this.#element, this.#chosen);
  }

  /**
   * How many tokens it is to the one above or below.
   * @param {string} key
   */
  #linesTo(key) {
    if ((key !== "ArrowUp" && key !== "ArrowDown") || !this.#chosen) return 0;
    const down = key === "ArrowDown";
    const from = this.#chosen.getBoundingClientRect();
    const at = Number(this.#chosen.dataset.place);
    const step = down ? 1 : -1;
    let best = 0;
    let line = null;
    for (let n = at + step; n >= 0 && n < this.items.length; n += step) {
      const box = this.items[n].getBoundingClientRect();
      const isOther = down ? box.top > from.top + 4 : box.top < from.top - 4;
      if (!isOther) continue;
      line ??= box.top;
      if (Math.abs(box.top - line) > 4) break;
      best = n - at;
      if (down ? box.right > from.left : box.left <= from.left) break;
    }
    return best;
  }
}

/**
 * @param {HTMLElement} item
 * @param {string} text
 */
function showText(item, text) {
  const shown = text.replace(/\n/g, "⏎");
  if (shown.trim() === "" || shown.includes("⏎")) item.classList.add("blank");
  item.textContent = shown.trim() === "" ? visible(text) : shown;
}

/**
 * Bring an item into view without moving the page.
 * @param {HTMLElement} box
 * @param {HTMLElement} item
 */
function scrollInside(box, item) {
  if (box.scrollHeight <= box.clientHeight) return;
  const [outer, inner] = [box.getBoundingClientRect(), item.getBoundingClientRect()];
  if (inner.top < outer.top + 8) box.scrollTop -= outer.top - inner.top + 24;
  else if (inner.bottom > outer.bottom - 8) box.scrollTop += inner.bottom - outer.bottom + 24;
}
