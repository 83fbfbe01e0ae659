// The answer's own text on top of the page, each token tinted by what one asks for.

import { translate } from "../chat/i18n.js";
import { byId } from "../dom.js";
import { figureFormat } from "../figure-format.js";
import { TokenList } from "./token-list.js";

/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./trace.js").Trace} Trace */

const MOST_ENTROPY = 4; // nats from which on the colour gets no stronger

export class Strip {
  #trace;
  #list;
  #worstUs;

  /**
   * @param {Trace} trace
   * @param {Selection} selection
   */
  constructor(trace, selection) {
    this.#trace = trace;
    const places = [...Array(trace.count).keys()];
    this.#worstUs = Math.max(1, ...places.map((place) => trace.gapUs(place) ?? 0));
    const texts = places.map((place) => trace.data.texts[place] || trace.text(trace.token(place)));
    this.#list = new TokenList(byId("strip"), {
      texts,
      choose: (place) => selection.choose({ kind: "answer", place }),
      move: (by) => selection.move(by),
    });
    for (const place of places) {
      const item = this.#list.items[place];
      item.classList.toggle("special", trace.isSpecial(trace.token(place)));
      item.classList.toggle("forced", trace.isForced(place));
      item.title = this.#facts(place).join(" · ");
    }
    for (const radio of document.querySelectorAll("input[name=tint]")) {
      radio.addEventListener("change", () => {
        selection.tint = /** @type {HTMLInputElement} */ (radio).value;
      });
    }
    let shown = "";
    selection.listen(({ kind, place }, tint) => {
      if (tint !== shown) this.#tint(tint);
      shown = tint;
      this.#list.choose(kind === "answer" ? place : null);
      if (kind === "answer") this.#tell(place);
    });
  }

  /** @param {string} tint */
  #tint(tint) {
    const strip = byId("strip");
    strip.dataset.tint = tint;
    byId("tint-legend").textContent = translate(`tint_${tint}`);
    for (const radio of document.querySelectorAll("input[name=tint]")) {
      const input = /** @type {HTMLInputElement} */ (radio);
      input.checked = input.value === tint;
    }
    this.#list.items.forEach((item, place) => {
      const strength = this.#strength(place, tint);
      item.dataset.level = String(strength === null ? 0 : Math.min(4, Math.max(0, strength)));
    });
  }

  /**
   * How much a token stands out, 0 to 4: only doubt, and only long gaps, draw the eye.
   * @param {number} place
   * @param {string} tint
   */
  #strength(place, tint) {
    const trace = this.#trace;
    if (tint === "tokens") return place % 2;
    if (tint === "time") {
      const gap = trace.gapUs(place);
      return gap === null ? null : Math.floor((gap / this.#worstUs) * 4.99);
    }
    if (!trace.isKnown(place)) return null;
    if (tint === "entropy") return Math.floor((trace.value(place, "entropy") / MOST_ENTROPY) * 4.99);
    const probability = trace.probability(place) ?? 1;
    return [0.8, 0.5, 0.2, 0.05].filter((least) => probability <= least).length;
  }

  /** @param {number} place */
  #facts(place) {
    const trace = this.#trace;
    const facts = [translate("token_number", { number: figureFormat.count(place + 1), count: figureFormat.count(trace.count) })];
    const probability = trace.probability(place);
    if (probability !== null) facts.push(figureFormat.percent(probability));
    const gap = trace.gapUs(place);
    if (gap !== null) facts.push(figureFormat.duration(gap / 1000));
    return facts;
  }

  /** @param {number} place */
  #tell(place) {
    const { token } = { token: this.#trace.token(place) };
    byId("selected-line").textContent = [`“${this.#trace.visible(token)}”`, ...this.#facts(place)].join(" · ");
  }
}
