// Stage 3: the gap before every token, under its word; their sum, the longest, and the formula.

import { translate } from "../chat/i18n.js";
import { byId } from "../dom.js";
import { figureFormat } from "../figure-format.js";
import { kindMark, make, tableBehind, tokenChip } from "./parts.js";
import { TokenList } from "./token-list.js";

/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./trace.js").Trace} Trace */

const HIGHEST = 3; // times the median gap: a bar's full height
const exact = (/** @type {number} */ us) => `${figureFormat.fixed(us / 1000, 3)} ms`;

export class TimeStage {
  #trace;
  /** @type {number[]} */
  #gaps;

  /**
   * @param {Trace} trace
   * @param {Selection} selection
   */
  constructor(trace, selection) {
    this.#trace = trace;
    const places = [...Array(trace.count).keys()];
    const known = places.filter((place) => trace.gapUs(place) !== null);
    this.#gaps = known.map((place) => trace.gapUs(place) ?? 0);
    const sorted = [...this.#gaps].sort((a, b) => a - b);
    const limitUs = Math.max(1, HIGHEST * (sorted[sorted.length >> 1] ?? 1));
    const list = new TokenList(byId("ruler"), {
      texts: places.map((place) => trace.data.texts[place] || trace.text(trace.token(place))),
      choose: (place) => selection.choose({ kind: "answer", place }),
      move: (by) => selection.move(by),
    });
    for (const place of places) {
      const item = list.items[place];
      const gap = trace.gapUs(place);
      const bar = make("span", "gap");
      bar.ariaHidden = "true";
      bar.style.blockSize = `${gap === null ? 0 : Math.max(2, Math.min(1, gap / limitUs) * 30)}px`;
      item.classList.toggle("is-long", gap !== null && gap > limitUs);
      item.classList.toggle("no-gap", gap === null);
      item.append(bar);
      item.title = this.#words(place);
    }
    this.#showFigures(known);
    this.#showFormula();
    const sum = this.#gaps.reduce((total, gap) => total + gap, 0);
    byId("time-note").textContent = translate("time_note", { sum: exact(sum), limit: figureFormat.duration(limitUs / 1000) });
    byId("time-note").append(" ", kindMark("measured"));
    tableBehind(
      byId("time-behind"),
      ["column_place", "column_text", "column_gap", "column_width", "column_probability"].map((key) => translate(key)),
      () => places.map((place) => this.#row(place)),
    );
    selection.listen(({ kind, place }) => list.choose(kind === "answer" ? place : null));
  }

  /** @param {number} place */
  #row(place) {
    const trace = this.#trace;
    const gap = trace.gapUs(place);
    const probability = trace.probability(place);
    const id = trace.token(place);
    return [
      String(place + 1),
      tokenChip(trace.visible(id), trace.isSpecial(id)),
      gap === null ? "–" : exact(gap),
      trace.isKnown(place) ? figureFormat.count(trace.value(place, "width")) : "–",
      probability === null ? "–" : figureFormat.percent(probability),
    ];
  }

  /** @param {number} place */
  #words(place) {
    const gap = this.#trace.gapUs(place);
    if (gap === null) return translate(place ? "no_gap" : "no_gap_first");
    const width = this.#trace.value(place, "width");
    return translate("gap_words", { gap: exact(gap), width: width === 1 ? translate("one_request") : translate("requests", { count: figureFormat.count(width) }) });
  }

  /** @param {number[]} known places that have a gap */
  #showFigures(known) {
    const trace = this.#trace;
    const line = byId("time-figures");
    const decode = trace.data.requests.reduce((sum, one) => sum + Number(one.decode_us ?? 0), 0);
    const worst = known.reduce((best, place) => ((trace.gapUs(place) ?? 0) > (trace.gapUs(best) ?? -1) ? place : best), known[0] ?? 0);
    line.replaceChildren(translate("time_summary", { decode: exact(decode), count: figureFormat.count(known.length) }), " ", kindMark("measured"), " ");
    if (known.length) line.append(translate("worst_gap", { gap: figureFormat.duration((trace.gapUs(worst) ?? 0) / 1000), number: figureFormat.count(worst + 1) }), " ", kindMark("measured"), " ");
    const means = trace.data.requests.map((one) => one.batch_mean).filter((mean) => mean !== null);
    if (means.length === 1) line.append(translate("time_batch", { mean: figureFormat.rate(Number(means[0])) }), " ", kindMark("measured"));
  }

  /** Latency = TTFT + TPOT × (n − 1), with the numbers of each request. */
  #showFormula() {
    const { requests } = this.#trace.data;
    const lines = requests.flatMap((one, number) => {
      const [ttft, tpot, latency, recovery] = [one.ttft_us, one.tpot_us, one.latency_us, one.recovery_us].map((value) => (value === null ? null : Number(value)));
      if (ttft === null || latency === null || tpot === null) return [];
      const gaps = Math.round(Number(one.decode_us) / tpot);
      const words = `${exact(ttft)} + ${figureFormat.fixed(tpot / 1000, 6)} ms × ${figureFormat.count(gaps)}${recovery ? ` + ${exact(recovery)} (${translate("recovery")})` : ""}`;
      const head = requests.length > 1 ? [make("span", "quiet", translate("request_number", { number: String(number + 1) }))] : [];
      return [make("span", "formula-line", ...head, make("span", "", `${translate("latency")} = TTFT + TPOT × (n − 1)`), make("span", "", `= ${words}`), make("span", "", "= ", make("b", "", exact(latency))), kindMark("derived"))];
    });
    byId("time-formula").replaceChildren(...lines);
    byId("time-formula").hidden = !lines.length;
  }
}

