// The sidebar as a drawer: over the thread on small screens, folded away or not on large ones.

import { byId } from "../dom.js";

export class Drawer {
  #sidebar = byId("sidebar");
  #scrim = byId("scrim");
  #main = byId("main");
  #opener = byId("open-sidebar");
  #small = matchMedia("(max-width: 47.99rem)");

  constructor() {
    this.#opener.addEventListener("click", () => this.toggle());
    byId("close-sidebar").addEventListener("click", () => this.toggle());
    this.#scrim.addEventListener("click", () => this.close());
    this.#small.addEventListener("change", () => this.#show(!this.#small.matches && !this.#isFolded()));
    this.#show(!this.#small.matches && !this.#isFolded());
  }

  get #isOpen() {
    return document.body.classList.contains("with-sidebar");
  }

  open() {
    if (!this.#isOpen) this.#show(true);
  }

  /** Close it where it lies over the thread. False when there was nothing to close. */
  close() {
    if (!this.#small.matches || !this.#isOpen) return false;
    this.#show(false);
    this.#opener.focus();
    return true;
  }

  toggle() {
    const willOpen = !this.#isOpen;
    if (!this.#small.matches) localStorage.setItem("sidebar", willOpen ? "open" : "folded");
    this.#show(willOpen);
    byId(willOpen ? "close-sidebar" : "open-sidebar").focus();
  }

  #isFolded() {
    return localStorage.getItem("sidebar") === "folded";
  }

  /** @param {boolean} isOpen */
  #show(isOpen) {
    document.body.classList.toggle("with-sidebar", isOpen);
    const isOver = isOpen && this.#small.matches;
    this.#scrim.hidden = !isOver;
    this.#main.inert = isOver;
    this.#sidebar.inert = !isOpen;
    this.#opener.setAttribute("aria-expanded", String(isOpen));
  }
}
