// Beside stage 2: sliders that ask what other settings would have made of the same distribution.

import { translate } from "../chat/i18n.js";
import { byId } from "../dom.js";
import { figureFormat } from "../figure-format.js";
import { kindMark, make, setting, tokenChip } from "./parts.js";
import { recompute } from "./samplers.js";

/** @typedef {import("./trace.js").Trace} Trace */
/** @typedef {import("./types.js").TokenRecord} TokenRecord */
/** @typedef {import("./types.js").Settings} Settings */

const DRAWS = 1000;
const SHOWN = 8;

/** @type {{ name: "temperature" | "top_k" | "top_p" | "min_p", min: number, max: number, step: number, off: number | null }[]} */
const SLIDERS = [
  { name: "temperature", min: 0, max: 2, step: 0.05, off: null },
  { name: "top_k", min: 0, max: 100, step: 1, off: 0 },
  { name: "top_p", min: 0.05, max: 1, step: 0.01, off: 1 },
  { name: "min_p", min: 0, max: 0.5, step: 0.01, off: 0 },
];

export class Playground {
  #trace;
  /** @type {Settings} */
  #asked;
  /** @type {TokenRecord | null} */
  #record = null;
  /** @type {import("./types.js").Seen | null} */
  #seen = null;

  /** @param {Trace} trace */
  constructor(trace) {
    this.#trace = trace;
    this.#asked = { ...trace.data.sampling };
    byId("sliders").replaceChildren(...SLIDERS.map((slider) => this.#makeSlider(slider)));
    byId("reset").addEventListener("click", () => {
      this.#asked = { ...trace.data.sampling };
      this.#showValues();
      this.#draw();
    });
    byId("playground-note").replaceChildren(kindMark("derived"), " ", translate("playground_note"));
    this.#showValues();
  }

  /**
   * Ask about this token from now on; the sliders stay where they are.
   * @param {TokenRecord} record
   * @param {import("./types.js").Seen} seen
   */
  show(record, seen) {
    [this.#record, this.#seen] = [record, seen];
    this.#draw();
  }

  /** @param {typeof SLIDERS[number]} slider */
  #makeSlider({ name, min, max, step }) {
    const input = make("input");
    Object.assign(input, { type: "range", id: `ask-${name}`, min: String(min), max: String(max), step: String(step) });
    const shown = make("output", "");
    shown.htmlFor.add(input.id);
    const label = make("label", "", make("span", "", translate(name)), shown);
    label.htmlFor = input.id;
    input.addEventListener("input", () => {
      this.#asked[name] = Number(input.value);
      this.#showValues();
      this.#draw();
    });
    return make("div", "slider", label, input);
  }

  #showValues() {
    const own = this.#trace.data.sampling;
    for (const { name, off } of SLIDERS) {
      const input = byId(`ask-${name}`, HTMLInputElement);
      input.value = String(this.#asked[name]);
      const shown = input.parentElement?.querySelector("output");
      if (shown) shown.textContent = this.#asked[name] === off ? translate("off") : setting(this.#asked[name]);
    }
    byId("reset").hidden = SLIDERS.every(({ name }) => this.#asked[name] === own[name]);
  }

  #draw() {
    if (!this.#record || !this.#seen) return;
    const record = this.#record;
    const { sampling, vocabulary } = this.#trace.data;
    const { rows, rest } = recompute(record, sampling, this.#asked, this.#seen, vocabulary ?? record.candidates.length);
    const ahead = rows.filter((row, place) => place < SHOWN || row.id === record.token);
    const items = ahead.map((row) => this.#item(tokenChip(this.#trace.visible(row.id), this.#trace.isSpecial(row.id)), row.low, row.high, row.id === record.token));
    const others = rows.filter((row) => !ahead.includes(row) && !row.isCut);
    const low = others.reduce((sum, row) => sum + row.low, rest[0]);
    const high = Math.min(1, others.reduce((sum, row) => sum + row.high, rest[1]));
    if (high > 5e-4) items.push(this.#item(make("span", "quiet", translate("rest_unknown")), low, high, false));
    byId("would-win").replaceChildren(...items);
  }

  /**
   * @param {Node} name
   * @param {number} low
   * @param {number} high
   * @param {boolean} isChosen
   */
  #item(name, low, high, isChosen) {
    const [least, most] = [Math.round(low * DRAWS), Math.round(high * DRAWS)];
    const words = least === most ? translate("wins", { count: figureFormat.count(least) }) : translate("wins_range", { low: figureFormat.count(least), high: figureFormat.count(most) });
    const bar = make("span", "bar");
    const unsure = make("span", "bar unsure");
    bar.style.inlineSize = `${low * 100}%`;
    unsure.style.inlineSize = `${high * 100}%`;
    const item = make("li", isChosen ? "is-chosen" : most ? "" : "never", make("span", "who-wins", name), make("span", "how-often", words), make("span", "bars", unsure, bar));
    return item;
  }
}
