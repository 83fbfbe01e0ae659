// A long list of which only the part in sight is in the document.
//
// Entries of one kind have one height, which the style sheet fixes; so thousands of them can be
// placed without being laid out. What has the focus stays, wherever one scrolls.

import { part } from "../dom.js";

const MARGIN_PX = 400; // drawn above and below what is in sight

/**
 * @typedef {object} Entry
 * @property {string} key
 * @property {string} kind
 */

/**
 * @template {Entry} E
 */
export class WindowedList {
  #scroller;
  #ground = document.createElement("div");
  #make;
  /** @type {E[]} */
  #entries = [];
  /** @type {number[]} where each entry begins, and last where they end */
  #tops = [0];
  /** @type {Map<string, HTMLElement>} by key, of those in the document */
  #drawn = new Map();
  /** @type {Map<string, number>} by kind */
  #heights = new Map();
  #frame = 0;

  /**
   * @param {HTMLElement} scroller
   * @param {(entry: E, known: HTMLElement | undefined) => HTMLElement} make a new element, or the
   *   known one brought up to date
   */
  constructor(scroller, make) {
    this.#scroller = scroller;
    this.#make = make;
    this.#ground.className = "windowed";
    scroller.replaceChildren(this.#ground);
    scroller.addEventListener("scroll", () => this.#drawSoon(), { passive: true });
    new ResizeObserver(() => this.#drawSoon()).observe(scroller);
  }

  /** The elements in the document, by key. */
  get drawn() {
    return this.#drawn;
  }

  get entries() {
    return this.#entries;
  }

  /** @param {E[]} entries */
  show(entries) {
    this.#entries = entries;
    this.#place();
    this.#draw(true);
  }

  /**
   * Scroll an entry into view and return its element.
   * @param {string} key
   */
  reveal(key) {
    const index = this.#entries.findIndex((entry) => entry.key === key);
    if (index < 0) return undefined;
    const { scrollTop, clientHeight } = this.#scroller;
    const [top = 0, end = 0] = this.#tops.slice(index, index + 2);
    if (top < scrollTop) this.#scroller.scrollTop = index === 1 ? 0 : top; // with the first heading
    else if (end > scrollTop + clientHeight) this.#scroller.scrollTop = end - clientHeight;
    this.#draw(false);
    return this.#drawn.get(key);
  }

  #drawSoon() {
    this.#frame ||= requestAnimationFrame(() => this.#draw(false));
  }

  #place() {
    let top = 0;
    this.#tops = [0];
    for (const { kind } of this.#entries) this.#tops.push((top += this.#heightOf(kind)));
    this.#ground.style.height = `${top}px`;
  }

  /**
   * The height that the style sheet gives to this kind, read once from an element of its own.
   * @param {string} kind
   */
  #heightOf(kind) {
    let height = this.#heights.get(kind);
    if (height === undefined) {
      const probe = document.createElement("div");
      probe.className = kind;
      this.#ground.append(probe);
      height = probe.offsetHeight;
      probe.remove();
      if (height) this.#heights.set(kind, height); // else the list isn't shown yet
    }
    return height;
  }

  /**
   * Bring the document in step with what is in sight.
   * @param {boolean} hasChanged whether what is drawn already may look different now
   */
  #draw(hasChanged) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#heights.size && this.#entries.length) this.#place();
    const { scrollTop, clientHeight } = this.#scroller;
    const first = this.#at(scrollTop - MARGIN_PX);
    const last = this.#at(scrollTop + clientHeight + MARGIN_PX);
    const focused = document.activeElement;
    /** @type {Map<string, HTMLElement>} */
    const wanted = new Map();
    /** @type {Element | null} */
    let after = null;
    this.#entries.forEach((entry, index) => {
      const known = this.#drawn.get(entry.key);
      const isInSight = index >= first && index <= last;
      if (!isInSight && !(known && known.contains(focused))) return;
      const element = known && !hasChanged ? known : this.#make(entry, known);
      element.style.transform = `translateY(${this.#tops[index]}px)`;
      const place = after ? after.nextElementSibling : this.#ground.firstElementChild;
      if (element !== place) this.#ground.insertBefore(element, place);
      wanted.set(entry.key, element);
      after = element;
    });
    for (const [key, element] of this.#drawn) if (wanted.get(key) !== element) element.remove();
    this.#drawn = wanted;
  }

  /**
   * The index of the entry at this height.
   * @param {number} y
   */
  #at(y) {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#tops[middle + 1] ?? 0) <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * The first link in an element that the list has drawn.
 * @param {HTMLElement | undefined} element
 */
export const linkIn = (element) => (element ? part(element, "a", HTMLAnchorElement) : undefined);
