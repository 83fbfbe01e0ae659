// Markdown as elements of the page. Models write the text: nothing in it may run or load, so no part
// of it is ever parsed as HTML; the dialect is in docs/markdown.md. A growing text costs what is new
// in it: blocks, items, rows and sentences that are complete keep their nodes.

import { codeBlock, showCode } from "./code-block.js";
import { copyFormulas } from "./copied-text.js";
import { BlockParser } from "./markdown-blocks.js";
import { showInline } from "./markdown-elements.js";
import { parseInline } from "./markdown-inline.js";
import { mathElement } from "./math.js";

/** @typedef {import("./markdown-block.js").Block} Block */

/**
 * What is shown of one block: its element, where its children stand in it, and how much of its
 * text can't change any more.
 * @typedef {object} Shown
 * @property {string} kind the same kind goes on in the same element
 * @property {number} version
 * @property {boolean} isGrowing
 * @property {HTMLElement} element
 * @property {HTMLElement} inside
 * @property {Shown[]} children
 * @property {string} settled
 * @property {number} settledNodes
 */

/** A line that says too little yet: a marker of a list, heading, quote, rule, fence or table. */
const MARKER = /^[ \t>]*(?:[-*+_=~`|:][-*+_=~`|: \t]*|#{1,6}|\d{1,9}[.)]?|[-*+] \[[ xX]?\]?|\d{1,9}[.)] \[[ xX]?\]?|>|<\/?(?:d(?:e(?:t(?:a(?:i(?:ls?)?)?)?)?)?|s(?:u(?:m(?:m(?:a(?:r(?:y)?)?)?)?)?)?)?(?: o(?:p(?:en?)?)?)?)?[ \t]*$/;
const FENCE = /^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?:`{3,}[^`]*|~{3,}.*)$/; // its language may be half there
const FENCE_TO_COME = /^[ \t>]*(?:`+|~+)[ \t]*$/;
const TABLE_TO_COME = /^\|[^\n]*(?:\n[-|: \t]*)?$/; // shown when its second line is complete
const DEFINITION_TO_COME = /^\[[^\]\n]+\]:?[^\n]*$/;

export class MarkdownView {
  #root;
  /** @type {Shown[]} */
  #shown = [];
  #parser = new BlockParser();
  #text = "";
  /** How much of the text the parser has read: whole lines. */
  #read = 0;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    root.addEventListener("click", (event) => this.#followNote(event));
    root.addEventListener("copy", copyFormulas);
  }

  /**
   * Show `text`; `isGrowing` closes or holds back what is half-written at its end.
   * @param {string} text
   */
  render(text, { isGrowing = false } = {}) {
    if (isGrowing) this.#showGrowing(text);
    else this.#showWhole(text);
  }

  /** @param {string} text */
  #showGrowing(text) {
    if (!text.startsWith(this.#text)) this.#begin();
    this.#readLines(text);
    const parser = this.#parser;
    const line = lineOf(text.slice(this.#read));
    if (!line || isHeld(line, parser.tip)) return this.#showAll({ isTentative: false });
    const mark = parser.mark();
    parser.feed(line);
    this.#showAll({ isTentative: true });
    parser.goBack(mark);
  }

  /**
   * The whole text is read again at its end: what is defined there may be used before.
   * @param {string} text
   */
  #showWhole(text) {
    this.#root.normalize();
    const { references, used } = this.#showOnce(text, new Set());
    const unused = new Set([...references.keys()].filter((label) => !used.has(label)));
    if (unused.size) this.#showOnce(text, unused);
    this.#begin();
  }

  /**
   * @param {string} text
   * @param {Set<string>} unused
   */
  #showOnce(text, unused) {
    this.#begin(unused);
    this.#readLines(text);
    const line = lineOf(text.slice(this.#read));
    if (line) this.#parser.feed(line);
    this.#parser.end();
    this.#showAll({ isWhole: true });
    return this.#parser;
  }

  #begin(unused = new Set()) {
    this.#parser = new BlockParser(unused);
    [this.#text, this.#read] = ["", 0];
  }

  /** @param {string} text */
  #readLines(text) {
    [this.#text, this.#parser.source] = [text, text];
    for (let end; (end = text.indexOf("\n", this.#read)) >= 0; this.#read = end + 1) {
      this.#parser.feed(lineOf(text.slice(this.#read, end)));
    }
  }

  /** @param {{ isTentative?: boolean, isWhole?: boolean }} how `isTentative`: the last line is half there */
  #showAll({ isTentative = false, isWhole = false }) {
    const { document } = this.#parser;
    const last = isWhole ? null : lastLeaf(document);
    const growing = last && (last.isOpen || (isTentative && last.endLine === document.endLine)) ? last : null;
    showChildren({ growing, isWhole, definitions: this.#parser }, this.#root, this.#shown, document.children, true);
  }

  /** @param {MouseEvent} event */
  #followNote(event) {
    const link = event.target instanceof Element ? event.target.closest("a[data-note]") : null;
    if (!(link instanceof HTMLElement)) return;
    event.preventDefault();
    for (const note of this.#root.querySelectorAll(".note")) {
      if (note instanceof HTMLElement && note.dataset.note === link.dataset.note) note.scrollIntoView({ block: "nearest" });
    }
  }
}

/**
 * Whether the line that is being written says too little to be shown.
 * @param {string} line
 * @param {Block} tip what it may go on with
 */
function isHeld(line, { type }) {
  if (line.length > 200) return false;
  return type === "code" ? FENCE_TO_COME.test(line) : MARKER.test(line) || FENCE.test(line);
}

/** @param {string} line as it was written */
const lineOf = (line) => line.replace(/\r$/, "").replaceAll("\0", "\ufffd");

/** @typedef {{ growing: Block | null, isWhole: boolean, definitions: BlockParser }} Page */

/**
 * The block whose text ends the document.
 * @param {Block} block
 * @returns {Block}
 */
function lastLeaf(block) {
  const last = block.children.at(-1);
  return last ? lastLeaf(last) : block;
}

/**
 * @param {Page} page
 * @param {HTMLElement} inside
 * @param {Shown[]} shown
 * @param {Block[]} blocks
 * @param {boolean} isTop
 */
function showChildren(page, inside, shown, blocks, isTop) {
  let count = 0;
  for (const block of blocks) {
    const isGrowing = block === page.growing;
    const known = shown[count];
    if (known?.version === block.version && !known.isGrowing && !isGrowing) {
      count++;
      continue;
    }
    if (isEmpty(block, isGrowing)) continue;
    const kind = kindOf(block);
    const next = known?.kind === kind ? known : made(block, kind, isGrowing);
    if (next !== known) {
      // Within a block the first one has the direction that the block has from it.
      if (isTop || count) setDirection(next.element, block);
      if (known) known.element.replaceWith(next.element);
      else inside.append(next.element);
      shown[count] = next;
    }
    update(page, next, block, isGrowing);
    [next.version, next.isGrowing] = [block.version, isGrowing];
    count++;
  }
  for (const { element } of shown.splice(count)) element.remove();
}

/**
 * Whether there is nothing to show of a block yet.
 * @param {Block} block
 * @param {boolean} isGrowing
 */
function isEmpty({ type, text, isOpen }, isGrowing) {
  if (type === "math") return isOpen;
  if (type !== "paragraph") return false;
  return !text || (isGrowing && isOpen && (TABLE_TO_COME.test(text) || DEFINITION_TO_COME.test(text)));
}

/** @param {Block} block */
function kindOf({ type, depth, start, marker, info, text }) {
  switch (type) {
    case "heading":
      return `h${depth}`;
    case "list":
      return start === null ? "ul" : `ol ${start}`;
    case "code":
      return marker ? `code ${info}` : "code";
    case "math":
      return `math ${text}`;
    case "note":
      return `note ${info}`;
    default:
      return type;
  }
}

/** @type {Partial<Record<import("./markdown-block.js").BlockType, string>>} */
const TAGS = {
  quote: "blockquote", item: "li", note: "div", details: "details", summary: "summary", html: "div", rule: "hr", paragraph: "p",
};

/**
 * The element for a block, without its text.
 * @param {Block} block
 * @param {string} kind
 * @param {boolean} isGrowing
 * @returns {Shown}
 */
function made(block, kind, isGrowing) {
  const { type, info, start } = block;
  let element;
  let inside;
  if (type === "code") element = codeBlock(codeOf(block), info, { isGrowing });
  else if (type === "math") element = mathElement(formulaOf(block.text));
  else if (type === "table") [element, inside] = madeTable();
  else if (type === "note") [element, inside] = madeNote(info);
  else element = document.createElement(TAGS[type] ?? kind.slice(0, 2));
  if (type === "html") element.className = "raw";
  if (element instanceof HTMLOListElement && start !== null && start !== 1) element.start = start;
  if (element instanceof HTMLDetailsElement) element.open = block.isLoose;
  return { kind, version: -1, isGrowing, element, inside: inside ?? element, children: [], settled: "", settledNodes: 0 };
}

/** @returns {[HTMLElement, HTMLElement]} */
function madeTable() {
  const frame = document.createElement("div");
  const table = document.createElement("table");
  frame.className = "table";
  frame.tabIndex = 0;
  frame.append(table);
  table.append(document.createElement("thead"), document.createElement("tbody"));
  return [frame, table];
}

/**
 * @param {string} label
 * @returns {[HTMLElement, HTMLElement]}
 */
function madeNote(label) {
  const note = document.createElement("div");
  const mark = document.createElement("sup");
  const text = document.createElement("div");
  note.className = "note";
  note.dataset.note = label.toLowerCase();
  mark.textContent = label;
  note.append(mark, text);
  return [note, text];
}

/**
 * The direction of a block is that of its first letter; code, formulas and rules have their own.
 * @param {HTMLElement} element
 * @param {Block} block
 */
function setDirection(element, { type }) {
  if (["code", "math", "rule"].includes(type)) return;
  (element.querySelector(":scope > table, .note > div") ?? element).setAttribute("dir", "auto");
}

/**
 * @param {Page} page
 * @param {Shown} shown
 * @param {Block} block
 * @param {boolean} isGrowing
 */
function update(page, shown, block, isGrowing) {
  switch (block.type) {
    case "code":
      return showCode(shown.element, codeOf(block), block.info, { isGrowing });
    case "table":
      return showRows(page, shown, block);
    case "html":
      return showInline(shown.element, 0, [block.text]);
    case "heading":
    case "paragraph":
    case "summary":
      return showText(page, shown, block.text, isGrowing);
    case "list":
      if (block.isLoose) shown.element.className = "loose";
      else shown.element.removeAttribute("class");
  }
  return showChildren(page, shown.inside, shown.children, block.children, false);
}

/**
 * @param {Page} page
 * @param {Shown} table
 * @param {Block} block
 */
function showRows(page, table, { children, align }) {
  const [head, body] = table.inside.children;
  for (const [index, row] of children.entries()) {
    const isGrowing = row === page.growing;
    const known = table.children[index];
    if (known?.version === row.version && !known.isGrowing && !isGrowing && !page.isWhole) continue;
    const next = known ?? rowOf(align, index === 0);
    if (!known) (index ? body : head).append(next.element);
    table.children[index] = next;
    const last = isGrowing ? row.cells.findLastIndex((cell) => cell !== "") : -1;
    next.children.forEach((cell, column) => showText(page, cell, row.cells[column] ?? "", column === last));
    [next.version, next.isGrowing] = [row.version, isGrowing];
  }
  for (const { element } of table.children.splice(children.length)) element.remove();
}

/**
 * @param {string[]} align
 * @param {boolean} isHead
 * @returns {Shown}
 */
function rowOf(align, isHead) {
  const element = document.createElement("tr");
  const common = { version: -1, isGrowing: false, settled: "", settledNodes: 0 };
  const children = align.map((side, column) => {
    const cell = document.createElement(isHead ? "th" : "td");
    if (side) cell.align = side;
    if (!isHead || column) cell.dir = "auto";
    element.append(cell);
    return { ...common, kind: "cell", element: cell, inside: cell, children: [] };
  });
  return { ...common, kind: "row", element, inside: element, children };
}

/**
 * @param {Page} page
 * @param {Shown} shown
 * @param {string} text
 * @param {boolean} isGrowing
 */
function showText({ definitions, isWhole }, shown, text, isGrowing) {
  if (isWhole || !text.startsWith(shown.settled)) [shown.settled, shown.settledNodes] = ["", 0];
  const from = shown.settled.length;
  const { nodes, settled, settledNodes } = parseInline(text.slice(from), definitions, {
    isGrowing,
    before: shown.settled.at(-1) ?? "\n",
  });
  showInline(shown.element, shown.settledNodes, nodes);
  shown.settled += text.slice(from, from + settled);
  shown.settledNodes += settledNodes;
}

/** @param {Block} block */
const codeOf = ({ text, marker }) => (marker ? text.replace(/\n$/, "") : text.replace(/\s+$/, ""));

/**
 * The formula of a block: without its dollars or brackets; an environment is TeX as a whole.
 * @param {string} raw
 */
function formulaOf(raw) {
  const isEnvironment = raw.startsWith("\\begin");
  return { raw, tex: isEnvironment ? raw : raw.slice(2, -2).trim(), isDisplay: true };
}
