// Stage 2: what each sampler did to the chosen token's candidates, the draw, and the branch that any
// other candidate would be.

import { post } from "../chat/http.js";
import { translate } from "../chat/i18n.js";
import { around, byId } from "../dom.js";
import { figureFormat } from "../figure-format.js";
import { fact, kindMark, make, setting, tokenChip } from "./parts.js";
import { Playground } from "./playground.js";
import { replay } from "./samplers.js";

/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./trace.js").Trace} Trace */
/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").TokenRecord} TokenRecord */
/** @typedef {"raw" | "penalties" | "temperature" | "top_k" | "top_p" | "min_p" | "drawn"} Stage */

const SVG = "http://www.w3.org/2000/svg";
const four = (/** @type {number} */ value) => figureFormat.fixed(value, 4);

export class SamplingStage {
  #trace;
  #branchUrl;
  #place = 0;
  #playground;

  /**
   * @param {Trace} trace
   * @param {Selection} selection
   * @param {string} branchUrl
   */
  constructor(trace, selection, branchUrl) {
    this.#trace = trace;
    this.#branchUrl = branchUrl;
    this.#playground = new Playground(trace);
    byId("funnel").addEventListener("click", (event) => {
      const button = around(event, "[data-branch]");
      if (button instanceof HTMLButtonElement) this.#branch(button);
    });
    selection.listen(({ kind, place }) => {
      if (kind === "answer") this.#show(place);
    });
  }

  /** @param {number} place */
  #show(place) {
    this.#place = place;
    const isKnown = this.#trace.isKnown(place);
    for (const id of ["funnel", "draw", "funnel-note", "playground"]) byId(id).hidden = !isKnown;
    this.#showFacts(place);
    if (!isKnown) return;
    const record = this.#trace.record(place);
    const seen = this.#trace.seenBefore(place);
    const replayed = replay(record, this.#trace.data.sampling, seen);
    this.#showFunnel(record, replayed);
    this.#showDraw(record, replayed.rows);
    const elsewhere = replayed.keptElsewhere;
    byId("funnel-note").textContent = [
      translate("funnel_note", { kept: figureFormat.percent(Math.min(1, record.kept_mass)) }),
      elsewhere ? translate("kept_elsewhere", { count: figureFormat.count(elsewhere) }) : "",
    ].join(" ");
    this.#playground.show(record, seen);
  }

  /** @param {number} place */
  #showFacts(place) {
    const trace = this.#trace;
    const id = trace.token(place);
    const number = { number: figureFormat.count(place + 1), count: figureFormat.count(trace.count) };
    const parts = [
      make("span", "card-title", tokenChip(trace.visible(id), trace.isSpecial(id)), " ", translate("token_number", number)),
      fact(translate("column_id"), String(id), "measured"),
      fact(translate("column_bytes"), trace.hex(id) || "–", "measured"),
    ];
    const before = trace.probability(place);
    if (before === null) {
      parts.push(make("span", "quiet", `${translate("not_known")} ${translate("not_known_first")}`));
    } else {
      parts.push(fact(translate("fact_before"), figureFormat.percent(before), "measured"));
      if (trace.isForced(place)) parts.push(make("span", "fact", make("b", "", translate("forced"))));
      else parts.push(fact(translate("fact_after"), figureFormat.percent(Math.exp(trace.value(place, "drawn_logprob"))), "measured"));
      parts.push(
        fact(translate("fact_rank"), figureFormat.count(trace.value(place, "rank")), "measured"),
        fact(translate("fact_entropy"), translate("nats", { value: figureFormat.fixed(trace.value(place, "entropy"), 2) }), "measured"),
        fact(translate("fact_left"), figureFormat.count(trace.value(place, "kept")), "measured"),
      );
    }
    byId("sampling-card").replaceChildren(...parts);
  }

  /** @returns {[Stage, string][]} the samplers that were on, in order, and what stands over them */
  #stages() {
    const s = this.#trace.data.sampling;
    const value = (/** @type {number} */ number) => ({ value: setting(number) });
    const hasPenalties = s.repetition_penalty !== 1 || s.presence_penalty !== 0 || s.frequency_penalty !== 0;
    /** @type {[Stage, string, boolean][]} */
    const all = [
      ["raw", translate("column_raw"), true],
      ["penalties", translate("column_penalties"), hasPenalties],
      ["temperature", s.temperature > 0 ? translate("column_temperature", value(s.temperature)) : translate("greedy"), s.temperature !== 1],
      ["top_k", translate("column_top_k", value(s.top_k)), s.temperature > 0 && s.top_k > 0],
      ["top_p", translate("column_top_p", value(s.top_p)), s.temperature > 0 && s.top_p < 1],
      ["min_p", translate("column_min_p", value(s.min_p)), s.temperature > 0 && s.min_p > 0],
      ["drawn", translate("column_drawn"), true],
    ];
    return all.filter(([, , isOn]) => isOn).map(([stage, words]) => [stage, words]);
  }

  /**
   * @param {TokenRecord} record
   * @param {import("./types.js").Replayed} replayed
   */
  #showFunnel(record, replayed) {
    const stages = this.#stages();
    const table = make("table");
    const head = table.createTHead().insertRow();
    head.append(headCell(translate("column_candidate")));
    for (const [stage, words] of stages) {
      const cell = headCell(`${words} `);
      cell.append(kindMark(stage === "raw" ? "measured" : "derived"));
      head.append(cell);
    }
    head.append(make("th", "branch-head", make("span", "visually-hidden", translate("column_branch"))));
    const body = table.createTBody();
    for (const row of replayed.rows) body.append(this.#rowOf(row, record, stages));
    body.append(this.#restRow(replayed, stages));
    byId("funnel").replaceChildren(...table.childNodes);
  }

  /**
   * @param {Row} row
   * @param {TokenRecord} record
   * @param {[Stage, string][]} stages
   */
  #rowOf(row, record, stages) {
    const trace = this.#trace;
    const line = document.createElement("tr");
    const isChosen = row.id === record.token;
    line.classList.toggle("is-chosen", isChosen);
    line.classList.toggle("is-cut", Boolean(row.cut));
    const name = make("th", "", tokenChip(trace.visible(row.id), trace.isSpecial(row.id)));
    name.scope = "row";
    if (isChosen) name.append(make("span", "chosen-mark", translate(trace.isForced(this.#place) ? "forced" : "chosen")));
    line.append(name);
    const cutAt = row.cut ? stages.findIndex(([stage]) => stage === (row.cut?.by === "greedy" ? "temperature" : row.cut?.by)) : -1;
    stages.forEach(([stage], column) => {
      if (cutAt >= 0 && column > cutAt) return;
      const isHere = cutAt >= 0 && column === cutAt;
      const cell = isHere ? make("td", "cut-cell", make("span", "", cutWords(row))) : valueCell(row[stage]);
      if (isHere) /** @type {HTMLTableCellElement} */ (cell).colSpan = stages.length - column;
      line.append(cell);
    });
    const last = make("td", "branch-cell");
    if (!isChosen) last.append(this.#branchButton(row.id));
    line.append(last);
    return line;
  }

  /** @param {number} id */
  #branchButton(id) {
    const words = { token: `“${this.#trace.visible(id)}”` };
    const ends = this.#trace.data.ends.includes(id);
    const button = make("button", "plain branch");
    button.type = "button";
    button.dataset.branch = String(id);
    button.disabled = ends;
    button.title = translate(ends ? "branch_ends" : "branch", words);
    button.setAttribute("aria-label", button.title);
    const icon = document.createElementNS(SVG, "svg");
    icon.setAttribute("viewBox", "0 0 24 24");
    icon.classList.add("icon");
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", "M6 4v16M6 14c0-5 12-2 12-8M14 8l4-4 4 4");
    icon.append(path);
    button.append(icon);
    return button;
  }

  /**
   * @param {import("./types.js").Replayed} replayed
   * @param {[Stage, string][]} stages
   */
  #restRow({ rest, keptElsewhere, rows }, stages) {
    const { vocabulary } = this.#trace.data;
    const line = document.createElement("tr");
    line.className = "rest";
    const words = vocabulary ? translate("rest", { count: figureFormat.count(vocabulary - rows.length) }) : translate("rest_unknown");
    const name = make("th", "", words);
    name.scope = "row";
    line.append(name);
    for (const [stage] of stages) {
      const isTold = stage === "raw" || stage === "penalties" || stage === "temperature" || stage === "drawn";
      if (!isTold) line.append(make("td", "quiet", keptElsewhere ? "…" : "–"));
      else line.append(valueCell(rest[stage]));
    }
    line.append(document.createElement("td"));
    return line;
  }

  /**
   * The intervals of what was left on a line from 0 to 1, and the number that fell into one.
   * @param {TokenRecord} record
   * @param {Row[]} rows
   */
  #showDraw(record, rows) {
    const trace = this.#trace;
    const words = byId("draw-words");
    byId("draw").querySelector("svg")?.remove();
    if (trace.isForced(this.#place)) {
      words.textContent = translate("draw_forced");
      return;
    }
    if (trace.data.sampling.temperature <= 0) {
      words.textContent = translate("draw_greedy");
      return;
    }
    const width = Math.exp(record.drawn_logprob);
    const token = `“${trace.visible(record.token)}”`;
    const isStored = record.candidates.includes(record.token);
    words.textContent = translate(isStored ? "draw_words" : "draw_words_outside", {
      uniform: four(record.uniform),
      token,
      from: four(record.below),
      to: four(Math.min(1, record.below + width)),
    });
    words.append(" ", kindMark("measured"));
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("class", "draw-line");
    picture.setAttribute("height", "44");
    picture.setAttribute("width", "100%");
    picture.setAttribute("aria-hidden", "true"); // the sentence says it
    for (const row of rows) {
      if (row.cut || row.from === null || row.drawn < 1e-4) continue;
      const part = drawn("rect", { x: percent(row.from), y: "14", width: percent(row.drawn), height: "22" });
      part.setAttribute("class", row.id === record.token ? "interval is-chosen" : "interval");
      const title = document.createElementNS(SVG, "title");
      title.textContent = `${trace.visible(row.id)} ${figureFormat.percent(row.drawn)}`;
      part.append(title);
      picture.append(part);
      if (row.drawn > 0.09) {
        const label = drawn("text", { x: percent(row.from + row.drawn / 2), y: "29" });
        label.setAttribute("class", row.id === record.token ? "is-chosen" : "");
        label.textContent = trace.visible(row.id).slice(0, Math.floor(row.drawn * 60));
        picture.append(label);
      }
    }
    picture.append(drawn("line", { x1: percent(record.uniform), x2: percent(record.uniform), y1: "8", y2: "40" }));
    picture.append(drawn("circle", { cx: percent(record.uniform), cy: "6", r: "5" }));
    byId("draw").prepend(picture);
  }

  /** @param {HTMLButtonElement} button */
  async #branch(button) {
    const words = button.title;
    button.disabled = true;
    button.title = translate("branch_busy");
    try {
      const made = await post(this.#branchUrl, {
        answer: crypto.randomUUID(),
        request: crypto.randomUUID(),
        position: this.#place,
        token: Number(button.dataset.branch),
      });
      location.assign(made.url);
    } catch (error) {
      button.disabled = false;
      button.title = words;
      const note = byId("funnel-note");
      note.textContent = translate("branch_failed", { text: error instanceof Error ? error.message : "" });
      note.classList.add("problem");
    }
  }
}

/** @param {number} share */
const percent = (share) => `${100 * Math.max(0, Math.min(1, share))}%`;

/**
 * @param {string} name
 * @param {Record<string, string>} attributes
 */
function drawn(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** @param {string} words */
function headCell(words) {
  const cell = make("th", "", words);
  cell.scope = "col";
  return cell;
}

/** @param {number} share a probability as a number over a bar */
export function valueCell(share) {
  const bar = make("span", "bar");
  bar.style.inlineSize = percent(share);
  return make("td", "value", make("span", "", share < 5e-6 ? "0 %" : figureFormat.percent(Math.min(1, share))), bar);
}

/** @param {Row} row the rule that cut it, with its numbers */
function cutWords({ cut }) {
  if (!cut || cut.by === "greedy") return translate("cut_greedy");
  const limit = setting(cut.limit ?? 0);
  if (cut.by === "top_k") return cut.place ? translate("cut_top_k", { limit, place: figureFormat.count(cut.place) }) : translate("cut_top_k_unknown", { limit });
  if (cut.by === "top_p") return cut.before === undefined ? translate("cut_top_p_unknown", { limit }) : translate("cut_top_p", { limit, before: figureFormat.percent(Math.min(1, cut.before)) });
  const [best, product] = [cut.best ?? 0, (cut.limit ?? 0) * (cut.best ?? 0)];
  return translate("cut_min_p", { limit, best: figureFormat.percent(best), product: figureFormat.percent(product) });
}
