// What stands inside a paragraph, a heading or a cell: emphasis, code, links, formulas. Read from left
// to right into plain data, which markdown-elements.js puts on the page. Marks reach REACH characters
// at most, so that a long growing paragraph is read from its last settled place on.

import { decoded } from "./html.js";
import { dollarFormula, isFormulaToCome, texFormula } from "./math-marks.js";
import { labelOf } from "./markdown-block.js";
import { bareLink, isSafe } from "./markdown-links.js";
import { anchor, codeOf, isBreak, merged, noteLink, textOf } from "./markdown-nodes.js";
import { asText, closeOpen, flanking, isMark, paired } from "./markdown-emphasis.js";

/** @typedef {import("./markdown-nodes.js").Inline} Inline */
/** @typedef {import("./markdown-emphasis.js").Part} Part */
/** @typedef {{ references: Map<string, import("./markdown-block.js").Reference>, used: Set<string>, notes: Set<string> }} Definitions */
/** @typedef {{ index: number, at: number, isImage: boolean, isActive: boolean }} Bracket */

/** How far the two marks of a pair may be from each other. */
export const REACH = 2000;
const SETTLE_CHARS = 256;
const WORD = /[A-Za-z0-9]+|[^\x00-\x7f]+| +/y;
const SPECIAL = /[\\`*_~[\]!<&$\n]/;
const TAG = /<\/?[A-Za-z][\w:-]*(?:\s+[^<>]*)?\/?>|<!--[\s\S]*?-->/y;
const OPEN_TAG = /<(?:[A-Za-z/!][^<>\n]{0,200})?$/;
const KEPT_TAG = /<(sub|sup|kbd)>([^\n]{0,300}?)<\/\1>/iy;
const OPEN_KEPT_TAG = /<(?:sub|sup|kbd)>[^\n]{0,300}$/iy;
const AUTOLINK = /<((?:https?|mailto):[^\s<>]*|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>/iy;
const ENTITY = /&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});/y;
const TARGET =
  /\([ \t]*\n?[ \t]*(?:<((?:\\.|[^<>\\\n])*)>|((?:\\.|[^\s\\()<]|\((?:\\.|[^\s\\()]|\((?:\\.|[^\s\\()])*\))*\))(?:\\.|[^\s\\()]|\((?:\\.|[^\s\\()]|\((?:\\.|[^\s\\()])*\))*\))*)?)(?:\s+(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|\(((?:\\.|[^()\\])*)\)))?\s*\)/y;

/**
 * Read a text. `isGrowing` closes or holds back what is half-written at its end. Up to `settled`,
 * which is where the first `settledNodes` nodes end, nothing that follows can change the meaning.
 * @param {string} text
 * @param {Definitions} definitions
 * @param {{ isGrowing?: boolean, before?: string }} options `before`: the character before the text
 */
export function parseInline(text, definitions, { isGrowing = false, before = "\n" } = {}) {
  const reader = new Reader(text, definitions, isGrowing, before);
  reader.read();
  return { nodes: reader.finish(), settled: reader.settled, settledNodes: reader.settledNodes };
}

class Reader {
  settled = 0;
  settledNodes = 0;
  /** @type {Inline[]} of the settled part */
  #done = [];
  /** @type {Part[]} since then */
  #parts = [];
  /** @type {Bracket[]} */
  #brackets = [];
  #at = 0;
  #nextTry = SETTLE_CHARS;
  #text;
  #definitions;
  #isGrowing;
  #before;
  #hasAddress;

  /**
   * @param {string} text
   * @param {Definitions} definitions
   * @param {boolean} isGrowing
   * @param {string} before
   */
  constructor(text, definitions, isGrowing, before) {
    this.#text = isGrowing ? text.replace(/(?:\\|[*_~!]+|&[#A-Za-z0-9]{0,10}|\s+)$/, "") : text;
    this.#definitions = definitions;
    this.#isGrowing = isGrowing;
    this.#before = before;
    this.#hasAddress = text.includes("@");
  }

  read() {
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at];
      if (SPECIAL.test(char)) this.#special(char);
      else this.#plain();
      if (this.#isGrowing) this.#settle();
    }
  }

  finish() {
    if (!this.#isGrowing) return merged([...this.#done, ...paired(this.#parts, REACH)]);
    const { length } = this.#text;
    const open = this.#brackets.find(({ at }) => length - at <= 200 && !this.#text.slice(at).includes("\n"));
    if (open) this.#cutTo(open.index); // it may become a link
    const parts = closeOpen(paired(this.#parts, REACH, true), length, REACH);
    while (isBreak(parts.at(-1))) parts.pop();
    return [...this.#done, ...merged(parts)];
  }

  /** The end of the text is held back from here: what it means is still to come. */
  #hold(at = this.#at) {
    this.#text = this.#text.slice(0, at);
    this.#at = at;
  }

  /** Note that what was read so far is settled, if no mark in reach is open. */
  #settle() {
    if (this.#at < this.#nextTry || this.#at >= this.#text.length) return;
    if (!/[\s\u3000-\u303f\uff00-\uff0f]/.test(this.#text[this.#at - 1])) return;
    this.#nextTry = this.#at + SETTLE_CHARS / 2;
    const from = this.#at - REACH;
    if (this.#brackets.some((bracket) => bracket.at >= from)) return;
    const parts = paired(this.#parts.map((part) => (isMark(part) ? { ...part } : part)), REACH, true);
    if (parts.some((part) => isMark(part) && part.at >= from)) return;
    this.#done.push(...merged(parts.map(asText)));
    this.#parts = [];
    this.#brackets = [];
    this.settled = this.#at;
    this.settledNodes = this.#done.length;
    this.#nextTry = this.#at + SETTLE_CHARS;
  }

  #plain() {
    const word = this.#match(WORD) ?? this.#text[this.#at];
    const link = /^[A-Za-z0-9]/.test(word) && bareLink(this.#text, this.#at, this.#previous(), this.#hasAddress);
    if (link) {
      this.#parts.push(anchor(link.href, [link.text]));
      this.#at += link.text.length;
    } else {
      this.#say(word);
    }
  }

  /** @param {string} char */
  #special(char) {
    switch (char) {
      case "\\":
        return this.#backslash();
      case "`":
        return this.#code();
      case "*":
      case "_":
      case "~":
        return this.#mark(char);
      case "!":
        if (this.#text[this.#at + 1] === "[") return this.#openBracket(true);
        return this.#say(char);
      case "[":
        return this.#openBracket(false);
      case "]":
        return this.#closeBracket();
      case "<":
        return this.#tag();
      case "&":
        return this.#entity();
      case "$":
        return this.#dollar();
      default:
        return this.#newline();
    }
  }

  #backslash() {
    const formula = texFormula(this.#text, this.#at);
    if (formula) return this.#formula(formula);
    if (this.#isGrowing && isFormulaToCome(this.#text, this.#at, "")) return this.#hold();
    const next = this.#text[this.#at + 1] ?? "";
    if (next === "\n") {
      this.#at++;
      return this.#newline();
    }
    // Outside of a formula the brackets of TeX keep their backslash, as does an environment.
    if (/[!-/:-@[-`{-~]/.test(next)) this.#say(next, 2);
    else this.#say("\\");
  }

  #dollar() {
    const formula = dollarFormula(this.#text, this.#at, this.#previous());
    if (formula) return this.#formula(formula);
    if (this.#isGrowing && isFormulaToCome(this.#text, this.#at, this.#previous())) return this.#hold();
    const [run] = /^\$+/.exec(this.#text.slice(this.#at, this.#at + 8)) ?? ["$"];
    this.#say(run);
  }

  /** @param {import("./math-marks.js").Formula} formula */
  #formula(formula) {
    this.#parts.push({ tag: "span", children: [], math: formula });
    this.#at += formula.raw.length;
  }

  #code() {
    const [ticks] = /^`+/.exec(this.#text.slice(this.#at)) ?? ["`"];
    const from = this.#at + ticks.length;
    const end = new RegExp(`(?<!\`)\`{${ticks.length}}(?!\`)`, "g");
    end.lastIndex = from;
    const found = end.exec(this.#text);
    if (found && found.index - this.#at <= REACH) {
      this.#parts.push(codeOf(this.#text.slice(from, found.index)));
      this.#at = found.index + ticks.length;
      return;
    }
    if (!this.#isGrowing || this.#text.length - this.#at > REACH) return this.#say(ticks);
    const open = this.#text.slice(from).replace(/`+$/, "");
    if (!open.trim()) return this.#hold();
    this.#parts.push(codeOf(open));
    this.#at = this.#text.length;
  }

  /** @param {string} mark */
  #mark(mark) {
    let end = this.#at + 1;
    while (this.#text[end] === mark) end++;
    const length = end - this.#at;
    if (mark === "~" && length !== 2) return this.#say(mark.repeat(length));
    const sides = flanking(mark, this.#previous(), charAt(this.#text, end));
    this.#parts.push({ mark, length, original: length, at: this.#at, ...sides });
    this.#at = end;
  }

  /** @param {boolean} isImage */
  #openBracket(isImage) {
    this.#brackets.push({ index: this.#parts.length, at: this.#at, isImage, isActive: true });
    this.#say(isImage ? "![" : "[");
  }

  #closeBracket() {
    const bracket = this.#brackets.pop();
    if (!bracket || !bracket.isActive || this.#at - bracket.at > REACH) return this.#say("]");
    const label = this.#text.slice(bracket.at + (bracket.isImage ? 2 : 1), this.#at);
    this.#at++;
    const target = this.#target(label);
    if (target === undefined) {
      this.#cutTo(bracket.index);
      this.#hold(bracket.at);
      return;
    }
    if (target === null) {
      if (label[0] === "^" && this.#isNote(label.slice(1))) {
        this.#cutTo(bracket.index);
        this.#parts.push(noteLink(label.slice(1)));
        return;
      }
      this.#parts.push("]");
      return;
    }
    if (target.label && isSafe(target.href)) this.#definitions.used.add(target.label);
    const inner = merged(paired(this.#parts.slice(bracket.index + 1), REACH));
    this.#cutTo(bracket.index);
    if (!isSafe(target.href)) {
      this.#parts.push(this.#text.slice(bracket.at, this.#at)); // it leads nowhere: shown as written
      return;
    }
    if (bracket.isImage) {
      const words = textOf(inner);
      this.#parts.push(anchor(target.href, [words || target.href], target.title)); // not loaded
      return;
    }
    // A picture within a link is its words: links don't hold links.
    const children = merged(inner.flatMap((node) => (typeof node === "object" && node.tag === "a" ? node.children : [node])));
    const picture = inner.find((node) => typeof node === "object" && node.tag === "a");
    const title = target.title || (typeof picture === "object" && picture.attributes?.href) || "";
    this.#parts.push(anchor(target.href, children, title));
    for (const open of this.#brackets) if (!open.isImage) open.isActive = false;
  }

  /**
   * Where the link leads whose text has just ended; null when it is none, undefined when that is
   * still to be written.
   * @param {string} label
   */
  #target(label) {
    const rest = this.#text.length - this.#at;
    if (this.#text[this.#at] === "(") {
      const found = this.#exec(TARGET);
      if (found) {
        this.#at += found[0].length;
        return { label: "", href: decoded(unescaped(found[1] ?? found[2] ?? "")), title: decoded(unescaped(found[3] ?? found[4] ?? found[5] ?? "")) };
      }
      if (this.#isGrowing && rest < 2000 && !this.#text.slice(this.#at).includes("\n") && isOpenTarget(this.#text.slice(this.#at))) return undefined;
    }
    const second = this.#text[this.#at] === "[" ? /^\[((?:\\.|[^\]\\[]){0,200})\]/.exec(this.#text.slice(this.#at, this.#at + 210)) : null;
    const name = labelOf(second?.[1] || label);
    const reference = this.#definitions.references.get(name);
    if (reference) {
      if (second) this.#at += second[0].length;
      return { label: name, href: decoded(reference.href), title: decoded(reference.title) };
    }
    return this.#isGrowing && !rest ? undefined : null;
  }

  /** @param {string} label */
  #isNote(label) {
    return this.#definitions.notes.has(label.toLowerCase()) || (this.#isGrowing && /^\d{1,3}$/.test(label));
  }

  /** @param {number} index */
  #cutTo(index) {
    this.#parts.length = Math.min(index, this.#parts.length);
  }

  #tag() {
    const auto = this.#exec(AUTOLINK);
    if (auto) {
      this.#parts.push(anchor(auto[1].includes(":") ? auto[1] : `mailto:${auto[1]}`, [auto[1]]));
      this.#at += auto[0].length;
      return;
    }
    if (/^<br ?\/?>/i.test(this.#text.slice(this.#at, this.#at + 6))) {
      this.#at = this.#text.indexOf(">", this.#at) + 1;
      this.#parts.push({ tag: "br", children: [] });
      return;
    }
    const kept = this.#exec(KEPT_TAG);
    if (kept) {
      const { nodes } = parseInline(kept[2], this.#definitions);
      this.#parts.push({ tag: kept[1].toLowerCase(), children: nodes });
      this.#at += kept[0].length;
      return;
    }
    if (this.#isGrowing && (this.#match(OPEN_KEPT_TAG) || OPEN_TAG.test(this.#text.slice(this.#at, this.#at + 204)))) return this.#hold();
    this.#say(this.#match(TAG) ?? "<"); // shown, not obeyed
  }

  #entity() {
    const entity = this.#match(ENTITY);
    if (entity) this.#say(decoded(entity), entity.length);
    else this.#say("&");
  }

  #newline() {
    const last = this.#parts.at(-1);
    if (typeof last === "string") this.#parts[this.#parts.length - 1] = last.trimEnd();
    this.#parts.push({ tag: "br", children: [] });
    this.#at++;
    while (this.#text[this.#at] === " ") this.#at++;
  }

  /**
   * Show this text for that many characters of the source.
   * @param {string} text
   */
  #say(text, length = text.length) {
    this.#parts.push(text);
    this.#at += length;
  }

  #previous() {
    return this.#at ? charAt(this.#text, this.#at - 1, true) : this.#before;
  }

  /** @param {RegExp} sticky */
  #exec(sticky) {
    sticky.lastIndex = this.#at;
    return sticky.exec(this.#text);
  }

  /** @param {RegExp} sticky */
  #match(sticky) {
    return this.#exec(sticky)?.[0];
  }
}

/**
 * The whole character at this place, which may be the second half of a pair; a newline outside.
 * @param {string} text
 * @param {number} at
 */
function charAt(text, at, isEnd = false) {
  if (isEnd && /[\udc00-\udfff]/.test(text[at]) && at > 0) at--;
  const point = text.codePointAt(at);
  return point === undefined ? "\n" : String.fromCodePoint(point);
}

/** @param {string} text what follows a link's text, from its bracket on */
const isOpenTarget = (text) => /^\((?:[^()\n]|\([^()\n]*\)?)*$/.test(text);

/** @param {string} text */
const unescaped = (text) => text.replace(/\\([!-/:-@[-`{-~])/g, "$1");
