// Stage 1: the prompt as the model saw it, coloured by who put each token there; what came from the
// cache is shaded.

import { tokens, translate } from "../chat/i18n.js";
import { byId } from "../dom.js";
import { figureFormat } from "../figure-format.js";
import { fact, kindMark, make, tableBehind, tokenChip } from "./parts.js";
import { TokenList } from "./token-list.js";

/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./trace.js").Trace} Trace */

const OWNERS = 5; // as in chatsite/inspect/prompt.py

export class PromptStage {
  #trace;
  #prompt;

  /**
   * @param {Trace} trace of an answer whose prompt is stored
   * @param {Selection} selection
   */
  constructor(trace, selection) {
    const { prompt } = trace.data;
    if (!prompt) throw new Error("this answer's prompt isn't stored");
    this.#trace = trace;
    this.#prompt = prompt;
    const list = new TokenList(byId("prompt-tokens"), {
      texts: prompt.ids.map((id) => trace.text(id)),
      choose: (place) => selection.choose({ kind: "prompt", place }),
      move: (by) => selection.move(by),
    });
    list.items.forEach((item, place) => {
      if (prompt.owners) item.dataset.owner = String(prompt.owners[place]);
      item.classList.toggle("special", trace.isSpecial(prompt.ids[place]));
      item.classList.toggle("is-cached", place < prompt.cached);
    });
    this.#showFigures();
    this.#showOwners();
    tableBehind(
      byId("prompt-behind"),
      ["column_place", "column_text", "column_id", "column_bytes", "column_owner", "column_state"].map((key) => translate(key)),
      () => prompt.ids.map((id, place) => [String(place + 1), tokenChip(trace.visible(id), trace.isSpecial(id)), String(id), trace.hex(id), this.#owner(place), this.#state(place)]),
    );
    selection.listen(({ kind, place }) => {
      list.choose(kind === "prompt" ? place : null);
      byId("prompt-card").hidden = kind !== "prompt";
      if (kind === "prompt") this.#tell(place);
    });
  }

  #showFigures() {
    const { ids, cached, cache } = this.#prompt;
    const line = byId("prompt-figures");
    line.replaceChildren(translate("prompt_summary", { tokens: tokens(ids.length), cached: figureFormat.count(cached) }), " ", kindMark("measured"));
    if (!cached) return;
    if (cache.saved_us === null) {
      line.append(" ", translate("cache_unknown"));
      return;
    }
    line.append(" ", translate("cache_saved", { time: figureFormat.duration(cache.saved_us / 1000) }), " ", kindMark("derived"), " ");
    line.append(make("span", "quiet", translate("cache_saved_how", { count: figureFormat.count(cache.requests) })));
  }

  #showOwners() {
    const { owners, cached } = this.#prompt;
    const list = byId("prompt-owners");
    if (!owners) {
      list.replaceChildren(make("li", "quiet", translate("owners_unknown")));
      return;
    }
    const items = [];
    for (let owner = 0; owner < OWNERS; owner++) {
      const count = owners.filter((one) => one === owner).length;
      if (!count) continue;
      const item = make("li", "", make("span", "swatch"), translate("owner_count", { owner: translate(`owner_${owner}`), count: figureFormat.count(count) }));
      item.dataset.owner = String(owner);
      items.push(item);
    }
    items.at(-1)?.append(" ", kindMark("derived"));
    if (cached) items.push(make("li", "", make("span", "swatch is-cached"), translate("cached")));
    list.replaceChildren(...items);
  }

  /** @param {number} place */
  #owner(place) {
    return this.#prompt.owners ? translate(`owner_${this.#prompt.owners[place]}`) : "–";
  }

  /** @param {number} place */
  #state(place) {
    return translate(place < this.#prompt.cached ? "cached" : "computed");
  }

  /** @param {number} place */
  #tell(place) {
    const id = this.#prompt.ids[place];
    const trace = this.#trace;
    const number = { number: figureFormat.count(place + 1), count: figureFormat.count(this.#prompt.ids.length) };
    byId("prompt-card").replaceChildren(
      make("span", "card-title", tokenChip(trace.visible(id), trace.isSpecial(id)), " ", translate("prompt_number", number)),
      fact(translate("column_id"), String(id), "measured"),
      fact(translate("column_bytes"), trace.hex(id) || "–", "measured"),
      fact(translate("column_owner"), this.#owner(place), "derived"),
      fact(translate("column_state"), this.#state(place), "measured"),
    );
  }
}
