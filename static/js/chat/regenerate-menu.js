// The menu "answer again with …": other presets and models for one more version of an answer.

import { byId, part } from "../dom.js";
import { translate } from "./i18n.js";

/** @typedef {import("./types.js").Choice} Choice */
/** @typedef {{ slug: string, name: string, description: string }} Item */

const GAP_PX = 4;

export class RegenerateMenu {
  #menu = byId("again-menu");
  #models;
  #presets;

  /** @param {{ models: Item[], presets: Item[] }} page */
  constructor({ models, presets }) {
    this.#models = models;
    this.#presets = presets;
    this.#menu.addEventListener("keydown", (event) => this.#move(event));
  }

  /**
   * Open it under `button`, for an answer of this model and preset. `onChoice` is called when
   * something is chosen.
   * @param {HTMLElement} button
   * @param {Choice} answer
   * @param {(choice: Choice) => void} onChoice
   */
  open(button, { model, preset }, onChoice) {
    const choose = (/** @type {Partial<Choice>} */ choice) => {
      this.#menu.hidePopover();
      onChoice({ model, preset, ...choice });
    };
    const presets = this.#presets.map((p) => item(p, p.slug === preset, () => choose({ preset: p.slug })));
    const models = this.#models.map((m) => item(m, m.slug === model, () => choose({ model: m.slug })));
    this.#menu.replaceChildren(heading("preset"), ...presets);
    if (models.length > 1) this.#menu.append(heading("model_label"), ...models);
    this.#menu.showPopover({ source: button });
    this.#place(button.getBoundingClientRect());
    part(this.#menu, "button").focus();
  }

  /** @param {DOMRect} at */
  #place(at) {
    const { offsetWidth: width, offsetHeight: height } = this.#menu;
    const below = at.bottom + GAP_PX;
    const top = below + height < innerHeight ? below : Math.max(GAP_PX, at.top - GAP_PX - height);
    this.#menu.style.top = `${top}px`;
    this.#menu.style.left = `${Math.max(GAP_PX, Math.min(at.left, innerWidth - width - GAP_PX))}px`;
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const items = [...this.#menu.querySelectorAll("button")];
    const at = items.findIndex((item) => item === document.activeElement) + step;
    items[(at + items.length) % items.length].focus();
  }
}

/** @param {string} key */
function heading(key) {
  const line = document.createElement("p");
  line.textContent = translate(key);
  line.setAttribute("role", "presentation");
  return line;
}

/**
 * @param {Item} choice
 * @param {boolean} isCurrent
 * @param {() => void} onClick
 */
function item({ name, description }, isCurrent, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("role", "menuitemradio");
  button.setAttribute("aria-checked", String(isCurrent));
  button.textContent = name;
  button.title = description;
  button.addEventListener("click", onClick);
  return button;
}
