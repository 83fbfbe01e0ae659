// The answer's stored numbers: columns as they came, one token's record at a time.

import { figureFormat } from "../figure-format.js";

/** @typedef {import("./types.js").AnswerData} AnswerData */
/** @typedef {import("./types.js").TokenRecord} TokenRecord */
/** @typedef {import("./types.js").Seen} Seen */

const CANDIDATES = 20;
const WHOLE = new Set(["token", "rank", "kept", "candidates"]);
export const FORCED = 2;

export class Trace {
  /** @type {Record<string, Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array | Float64Array>} */
  #columns = {};
  /** @type {AnswerData} */
  data;

  /** @param {AnswerData} data */
  constructor(data) {
    this.data = data;
    for (const [name, text] of Object.entries(data.columns)) this.#columns[name] = decoded(name, text);
  }

  get count() {
    return this.data.count;
  }

  /** Whether how a token was chosen is stored of any. */
  get isKnownAnywhere() {
    return this.#columns.is_known.some((known) => known > 0);
  }

  /** @param {number} place */
  isKnown(place) {
    return this.#columns.is_known[place] > 0;
  }

  /** @param {number} place whether a person chose this token */
  isForced(place) {
    return this.#columns.is_known[place] === FORCED;
  }

  /** @param {number} place */
  token(place) {
    return this.#columns.token[place];
  }

  /**
   * µs since the token before; null where there is none.
   * @param {number} place
   */
  gapUs(place) {
    const gap = this.#columns.gap_us[place];
    return gap < 0 ? null : gap;
  }

  /**
   * One number of a token's record.
   * @param {number} place
   * @param {string} name
   */
  value(place, name) {
    return this.#columns[name][place];
  }

  /**
   * The chosen token's probability under the model's own distribution; null where it isn't stored.
   * @param {number} place
   */
  probability(place) {
    if (!this.isKnown(place)) return null;
    return Math.exp(this.value(place, "best_logprob") - this.value(place, "below_best"));
  }

  /**
   * How the token was chosen.
   * @param {number} place
   * @returns {TokenRecord}
   */
  record(place) {
    /** @type {Record<string, number | number[]>} */
    const record = {};
    for (const [name, column] of Object.entries(this.#columns)) {
      const isWide = name.startsWith("candidates");
      record[name] = isWide ? [...column.slice(place * CANDIDATES, (place + 1) * CANDIDATES)] : column[place];
    }
    return /** @type {any} */ (record);
  }

  /**
   * What penalties looked at when this token was chosen.
   * @param {number} place
   * @returns {Seen}
   */
  seenBefore(place) {
    /** @type {Map<number, number>} */
    const counts = new Map();
    for (let n = 0; n < place; n++) counts.set(this.token(n), (counts.get(this.token(n)) ?? 0) + 1);
    const prompt = new Set(this.data.sampling.repetition_penalty === 1 ? [] : (this.data.prompt?.ids ?? []));
    return {
      isThere: (id) => prompt.has(id) || counts.has(id),
      inAnswer: (id) => counts.get(id) ?? 0,
      ids: () => new Set([...prompt, ...counts.keys()]),
    };
  }

  // --- words for tokens --------------------------------------------------------------------------

  /**
   * The token's bytes in hexadecimal, a space between two.
   * @param {number} id
   */
  hex(id) {
    return (this.data.pieces[id]?.[0].match(/../g) ?? []).join(" ");
  }

  /** @param {number} id whether it is a mark of the vocabulary and no text */
  isSpecial(id) {
    return this.data.pieces[id]?.[1] === 1;
  }

  /**
   * A token as text; bytes that are no whole character in hexadecimal, without a vocabulary its id.
   * @param {number} id
   */
  text(id) {
    const piece = this.data.pieces[id];
    if (!piece) return `#${figureFormat.count(id)}`;
    const bytes = Uint8Array.from(piece[0].match(/../g) ?? [], (pair) => parseInt(pair, 16));
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      return `⟨${this.hex(id)}⟩`;
    }
  }

  /**
   * The same with white space made visible, for places where it would be lost.
   * @param {number} id
   */
  visible(id) {
    return visible(this.text(id));
  }
}

/** @param {string} text */
export const visible = (text) => text.replace(/\r?\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));

/**
 * @param {string} name
 * @param {string} text base64 of a little-endian array
 */
function decoded(name, text) {
  const { buffer } = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (name === "is_known") return new Uint8Array(buffer);
  if (name === "width") return new Uint16Array(buffer);
  if (name === "gap_us") return new Int32Array(buffer);
  if (name === "uniform") return new Float64Array(buffer);
  return WHOLE.has(name) ? new Uint32Array(buffer) : new Float32Array(buffer);
}
