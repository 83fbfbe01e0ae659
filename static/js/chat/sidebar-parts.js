// What the sidebar is made of: groups by day, marked hits, and the drawer it becomes when narrow.

import { say } from "./words.js";

const DAY_MS = 86_400_000;
const month = new Intl.DateTimeFormat(document.documentElement.lang, { month: "long", year: "numeric" });

/** The heading that a conversation of that time stands under. */
export function groupOf(iso) {
  const date = new Date(iso);
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (date >= midnight) return say("today");
  if (date >= midnight - DAY_MS) return say("yesterday");
  if (date >= midnight - 7 * DAY_MS) return say("last_week");
  return month.format(date);
}

export function headingOf(name) {
  const heading = document.createElement("h2");
  heading.textContent = name;
  return heading;
}

/** Put `text` into `element` with every hit of `query` marked. */
export function mark(element, text, query) {
  element.replaceChildren();
  const pattern = query && new RegExp(query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
  let from = 0;
  for (const { 0: found, index } of pattern ? text.matchAll(pattern) : []) {
    const hit = document.createElement("mark");
    hit.textContent = found;
    element.append(text.slice(from, index), hit);
    from = index + found.length;
  }
  element.append(text.slice(from));
}

/** On small screens the list lies over the thread; on large ones it can be folded away. */
export class Drawer {
  #sidebar = document.getElementById("sidebar");
  #scrim = document.getElementById("scrim");
  #main = document.getElementById("main");
  #opener = document.getElementById("open-sidebar");
  #small = matchMedia("(max-width: 47.99rem)");

  constructor() {
    this.#opener.addEventListener("click", () => this.toggle());
    document.getElementById("close-sidebar").addEventListener("click", () => this.toggle());
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
    document.getElementById(willOpen ? "close-sidebar" : "open-sidebar").focus();
  }

  #isFolded() {
    return localStorage.getItem("sidebar") === "folded";
  }

  #show(isOpen) {
    document.body.classList.toggle("with-sidebar", isOpen);
    const isOver = isOpen && this.#small.matches;
    this.#scrim.hidden = !isOver;
    this.#main.inert = isOver;
    this.#sidebar.inert = !isOpen;
    this.#opener.setAttribute("aria-expanded", String(isOpen));
  }
}
