// The menu "answer again with …": other presets and models for one more version of an answer.

import { translate } from "./i18n.js";

const GAP_PX = 4;

export class RegenerateMenu {
  #menu = document.getElementById("again-menu");
  #models;
  #presets;

  constructor({ models, presets }) {
    this.#models = models;
    this.#presets = presets;
    this.#menu.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Open it under `button`. `onChoice({model, preset})` is called when something is chosen. */
  open(button, { model, preset }, onChoice) {
    const choose = (choice) => {
      this.#menu.hidePopover();
      onChoice({ model, preset, ...choice });
    };
    const presets = this.#presets.map((p) => item(p, p.slug === preset, () => choose({ preset: p.slug })));
    const models = this.#models.map((m) => item(m, m.slug === model, () => choose({ model: m.slug })));
    this.#menu.replaceChildren(heading("preset"), ...presets);
    if (models.length > 1) this.#menu.append(heading("model_label"), ...models);
    this.#menu.showPopover({ source: button });
    this.#place(button.getBoundingClientRect());
    this.#menu.querySelector("button").focus();
  }

  #place(at) {
    const { offsetWidth: width, offsetHeight: height } = this.#menu;
    const below = at.bottom + GAP_PX;
    const top = below + height < innerHeight ? below : Math.max(GAP_PX, at.top - GAP_PX - height);
    this.#menu.style.top = `${top}px`;
    this.#menu.style.left = `${Math.max(GAP_PX, Math.min(at.left, innerWidth - width - GAP_PX))}px`;
  }

  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const items = [...this.#menu.querySelectorAll("button")];
    const at = items.indexOf(document.activeElement) + step;
    items[(at + items.length) % items.length].focus();
  }
}

function heading(key) {
  const line = document.createElement("p");
  line.textContent = translate(key);
  line.setAttribute("role", "presentation");
  return line;
}

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
