// The blocks of a Markdown text, read line by line: what a line belongs to depends on the lines
// before it alone, so a growing text costs its new lines, however long it is. What stands inside a
// block's text is read by markdown-inline.js; docs/markdown.md states the dialect.

import * as is from "./markdown-block.js";
import { Block } from "./markdown-block.js";

/** @typedef {import("./markdown-block.js").BlockType} BlockType */
/** @typedef {{ path: Block[], states: object[], counts: number[], line: number }} Mark */

const CONTAINERS = new Set(["document", "quote", "item", "note", "details"]);
/** Lines that go on with one of these may also begin another block. */
const INTERRUPTED = new Set([...CONTAINERS, "list", "paragraph", "table"]);

/** How many blocks may stand in each other; deeper ones are text. */
const DEEPEST = 60;

let clock = 0;

export class BlockParser {
  document = new Block("document");
  /** @type {Map<string, import("./markdown-block.js").Reference>} by label */
  references = new Map();
  /** @type {Set<string>} labels of the notes that are defined */
  notes = new Set();
  /** The whole text, as far as it is known: it says which definitions are used. */
  source = "";
  /** @type {Set<string>} labels of references that a link was made of */
  used = new Set();
  /** @type {Block[]} from the document to the innermost open block */
  #path = [this.document];
  #line = 0;
  /** What is left of the line that is being read, and the column it begins at. */
  #rest = "";
  #column = 0;

  /** @param {Set<string>} unused labels of references that are known to be used nowhere */
  constructor(unused = new Set()) {
    this.unused = unused;
  }

  /** The innermost open block. */
  get tip() {
    return this.#path[this.#path.length - 1];
  }

  /**
   * Where to go back to when the next line is only half there.
   * @returns {Mark}
   */
  mark() {
    const path = [...this.#path];
    return { path, states: path.map((block) => ({ ...block })), counts: path.map(({ children }) => children.length), line: this.#line };
  }

  /** @param {Mark} mark */
  goBack({ path, states, counts, line }) {
    path.forEach((block, index) => {
      Object.assign(block, states[index]);
      block.children.length = counts[index];
    });
    this.#path = [...path];
    this.#line = line;
    touch(path);
  }

  /** No more lines: what is open ends. */
  end() {
    touch(this.#path);
    this.#closeFrom(1);
  }

  /**
   * Read one line, without its newline.
   * @param {string} line
   */
  feed(line) {
    const before = [...this.#path];
    this.#line++;
    this.#rest = line;
    this.#column = 0;
    this.#read();
    touch(before);
    touch(this.#path);
  }

  #read() {
    const matched = this.#goOn();
    if (matched === null) return;
    const details = this.#detailsEndingHere();
    const isLazy = matched < this.#path.length && this.tip.type === "paragraph";
    const opened = this.#begin(matched);
    if (opened !== null) {
      const isBlank = !this.#rest.trim();
      if (!isLazy || opened !== matched || isBlank) this.#closeFrom(opened);
      if (!isBlank || this.tip.type === "code") this.#add();
    }
    if (details) this.#close(details);
  }

  /** How many of the open blocks this line goes on with; null when that is all it does. */
  #goOn() {
    for (let index = 1; index < this.#path.length; index++) {
      const block = this.#path[index];
      const isBlank = !this.#rest.trim();
      switch (block.type) {
        case "quote":
          if (!this.#takeQuote()) return index;
          break;
        case "item":
        case "note":
          if (isBlank ? !block.children.length : this.#indent() < block.padding) return index;
          this.#drop(block.padding);
          break;
        case "summary":
          this.#addToSummary(block);
          return null;
        case "math":
          if (isBlank) return index;
          this.#addToMath(block);
          return null;
        case "code":
          if (block.marker ? this.#isEndOf(block) : !isBlank && this.#indent() < 4) {
            if (!block.marker) return index;
            this.#noteLine();
            this.#closeFrom(index);
            return null;
          }
          this.#drop(block.marker ? block.padding : 4);
          break;
        case "html":
        case "table":
        case "paragraph":
          if (isBlank) return index;
          break;
        default: // a list goes on with its items, details until their end
      }
    }
    return this.#path.length;
  }

  /** The details that end with this line; their end is taken from it. */
  #detailsEndingHere() {
    if (this.tip.type === "code" || !is.DETAILS_END.test(this.#rest)) return null;
    const details = this.#path.findLast(({ type }) => type === "details");
    if (details) this.#rest = this.#rest.replace(is.DETAILS_END, "");
    return details;
  }

  /**
   * Open what this line begins inside the first `matched` blocks. Returns how many blocks then go
   * on; null when nothing of the line is left.
   * @param {number} matched
   */
  #begin(matched) {
    for (;;) {
      const container = this.#path[matched - 1];
      const text = this.#rest.trimStart();
      if (!text || !INTERRUPTED.has(container.type)) return matched;
      if (this.#indent() >= 4) {
        if (this.tip.type === "paragraph" || container.type === "table") return matched;
        this.#drop(4);
        return this.#open(matched, "code");
      }
      const isDeep = matched > DEEPEST;
      const opened = (isDeep ? undefined : this.#beginContainer(matched, text)) ?? this.#beginLeaf(matched, container, text);
      if (opened === undefined) return matched;
      if (opened === null) return null;
      matched = opened;
    }
  }

  /**
   * @param {number} matched
   * @param {string} text
   * @returns {number | undefined}
   */
  #beginContainer(matched, text) {
    if (text[0] === ">") {
      this.#takeQuote();
      return this.#open(matched, "quote");
    }
    const details = is.DETAILS.exec(text);
    if (details) {
      this.#drop(this.#indent());
      this.#rest = this.#rest.slice(details[0].length);
      const depth = this.#open(matched, "details");
      this.tip.isLoose = Boolean(details[1]);
      return depth;
    }
    const note = is.NOTE.exec(text);
    if (note) {
      this.#drop(this.#indent());
      this.#rest = this.#rest.slice(note[0].length);
      const depth = this.#open(matched, "note");
      [this.tip.info, this.tip.padding] = [note[1], 4];
      this.notes.add(note[1].toLowerCase());
      return depth;
    }
    const item = is.RULE.test(text) ? null : is.ITEM.exec(text);
    return item ? this.#beginItem(matched, text, item) : undefined;
  }

  /**
   * @param {number} matched
   * @param {string} text
   * @param {RegExpExecArray} item
   */
  #beginItem(matched, text, [marker, bullet, number, delimiter]) {
    const isEmpty = !text.slice(marker.length).trim();
    const before = this.#path[matched - 1];
    if (before.type === "paragraph" && (isEmpty || (number && Number(number) !== 1))) return undefined;
    const indent = this.#indent();
    this.#drop(indent);
    this.#rest = this.#rest.slice(marker.length);
    this.#column += marker.length;
    const space = this.#indent();
    const width = isEmpty || space > 4 ? 1 : space;
    this.#drop(width);
    this.#rest = this.#rest.replace(is.TASK, (_, state) => (state === " " ? "☐ " : "☑ "));
    const kind = bullet ?? delimiter;
    let depth = matched;
    if (before.type !== "list" || before.marker !== kind) {
      depth = this.#open(matched, "list");
      this.tip.marker = kind;
      this.tip.start = number ? Number(number) : null;
    }
    depth = this.#open(depth, "item");
    this.tip.padding = indent + marker.length + width;
    return depth;
  }

  /**
   * @param {number} matched
   * @param {Block} container
   * @param {string} text
   * @returns {number | null | undefined} undefined when nothing begins here
   */
  #beginLeaf(matched, container, text) {
    const isTip = container.type === "paragraph" && matched === this.#path.length;
    const heading = is.HEADING.exec(text);
    if (heading) return this.#whole(matched, "heading", is.wordsOfHeading(heading[2]), heading[1].length);
    if (isTip && is.UNDERLINE.test(text) && this.#takeReferences(container)) {
      [container.type, container.depth] = ["heading", text[0] === "=" ? 1 : 2];
      this.#noteLine();
      this.#closeFrom(matched - 1);
      return null;
    }
    const columns = isTip ? is.columnsOf(text) : null;
    if (columns && this.#becomesTable(container, columns)) return null;
    if (is.RULE.test(text)) return this.#whole(matched, "rule", "", 0);
    const fence = is.FENCE.exec(text);
    if (fence) {
      const indent = this.#indent();
      this.#open(matched, "code");
      [this.tip.marker, this.tip.info, this.tip.padding] = [fence[1], fence[2].trim(), indent];
      return null;
    }
    if (container.type === "details" && !container.children.length && is.SUMMARY.test(text)) {
      this.#open(matched, "summary");
      this.#rest = text.replace(is.SUMMARY, "");
      this.#addToSummary(this.tip);
      return null;
    }
    const end = is.endOfMath(text);
    if (end) {
      this.#open(matched, "math");
      this.tip.marker = end;
      this.#addToMath(this.tip);
      return null;
    }
    if (container.type !== "paragraph" && is.HTML.test(text)) return this.#open(matched, "html");
    return undefined;
  }

  /**
   * A block of one line.
   * @param {number} matched
   * @param {BlockType} type
   * @param {string} text
   * @param {number} depth
   */
  #whole(matched, type, text, depth) {
    const length = this.#open(matched, type);
    [this.tip.text, this.tip.depth] = [text, depth];
    this.#closeFrom(length - 1);
    return null;
  }

  /**
   * The last line of this paragraph is a table's head if it has as many cells as there are columns.
   * @param {Block} paragraph
   * @param {string[]} columns
   */
  #becomesTable(paragraph, columns) {
    const from = paragraph.text.lastIndexOf("\n") + 1;
    const cells = is.cellsOf(paragraph.text.slice(from));
    if (cells.length !== columns.length) return false;
    let table = paragraph;
    if (from) {
      paragraph.text = paragraph.text.slice(0, from - 1);
      this.#open(this.#path.length, "table");
      table = this.tip;
    } else {
      [table.type, table.text] = ["table", ""];
    }
    table.align = columns;
    this.#addRow(table, cells);
    return true;
  }

  /** Put the rest of the line into the innermost block, or into a new paragraph. */
  #add() {
    if (CONTAINERS.has(this.tip.type) || this.tip.type === "list") this.#open(this.#path.length, "paragraph");
    const block = this.tip;
    if (block.type === "table") this.#addRow(block, is.cellsOf(this.#rest, block.align.length));
    else if (block.type === "code") block.text += `${this.#rest}\n`;
    else if (block.type === "html") block.text += (block.text && "\n") + this.#rest;
    else block.text += (block.text && "\n") + this.#rest.trim();
    this.#noteLine();
  }

  /**
   * @param {Block} table
   * @param {string[]} cells
   */
  #addRow(table, cells) {
    const row = new Block("row");
    [row.cells, row.isOpen, row.version] = [cells, false, ++clock];
    row.startLine = row.endLine = this.#line;
    table.children.push(row);
    this.#noteLine();
  }

  /** @param {Block} summary */
  #addToSummary(summary) {
    const end = is.SUMMARY_END.exec(this.#rest);
    const line = end ? this.#rest.slice(0, end.index) : this.#rest;
    summary.text += (summary.text && line.trim() && "\n") + line.trim();
    this.#noteLine();
    if (!end) return;
    const depth = this.#path.indexOf(summary);
    const rest = this.#rest.slice(end.index + end[0].length);
    this.#closeFrom(depth);
    const details = this.#path[depth - 1];
    const isEnd = is.DETAILS_END.test(rest);
    const text = rest.replace(is.DETAILS_END, "");
    if (text.trim()) {
      this.#rest = text;
      this.#add();
    }
    if (isEnd) this.#close(details);
  }

  /** @param {Block} math */
  #addToMath(math) {
    const line = this.#rest.trim();
    math.text += (math.text && "\n") + line;
    this.#noteLine();
    const isFirst = math.startLine === this.#line;
    const at = line.indexOf(math.marker, isFirst && line.startsWith(math.marker) ? math.marker.length : 0);
    if (at < 0) return;
    if (line.length > at + math.marker.length) math.type = "paragraph"; // words follow: not a block
    else this.#closeFrom(this.#path.indexOf(math), true);
  }

  /**
   * Whether this line ends a block of code. In a block of Markdown, fences with a language and
   * their ends belong to it.
   * @param {Block} code
   */
  #isEndOf(code) {
    const fence = this.#indent() <= 3 ? is.FENCE.exec(this.#rest.trimStart()) : null;
    if (!fence || fence[1][0] !== code.marker[0]) return false;
    const isMarkdown = /^(?:markdown|md|mdx)\b/i.test(code.info);
    if (fence[2].trim()) {
      if (isMarkdown) code.depth++;
      return false;
    }
    if (code.depth) code.depth--;
    else return fence[1].length >= code.marker.length;
    return false;
  }

  /**
   * Open a block behind the first `depth` open ones, or further out where it can't stand there.
   * Returns how many are open then.
   * @param {number} depth
   * @param {BlockType} type
   */
  #open(depth, type) {
    const mayHold = (/** @type {BlockType} */ outer) => (type === "item" ? outer === "list" : CONTAINERS.has(outer));
    while (!mayHold(this.#path[depth - 1].type)) depth--;
    this.#closeFrom(depth);
    const parent = this.tip;
    const block = new Block(type);
    block.startLine = block.endLine = this.#line;
    const before = parent.children.at(-1);
    const list = parent.type === "item" ? this.#path[depth - 2] : parent;
    if (before && list.type === "list" && before.endLine < this.#line - 1) list.isLoose = true;
    parent.children.push(block);
    this.#path.push(block);
    return this.#path.length;
  }

  /**
   * End a block, if it is still open.
   * @param {Block} block
   */
  #close(block) {
    const depth = this.#path.indexOf(block);
    if (depth > 0) this.#closeFrom(depth);
  }

  /**
   * @param {number} depth
   * @param {boolean} isWhole a formula that has its end
   */
  #closeFrom(depth, isWhole = false) {
    for (const block of this.#path.splice(depth)) {
      block.isOpen = false;
      block.version = ++clock;
      if (block.type === "math" && !isWhole) block.type = "paragraph";
      if (block.type === "paragraph") this.#takeReferences(block);
    }
  }

  /**
   * Take the definitions from the beginning of a paragraph; returns the text that is left.
   * @param {Block} paragraph
   */
  #takeReferences(paragraph) {
    if (paragraph.text[0] === "[") paragraph.text = is.withoutReferences(paragraph.text, this);
    return paragraph.text;
  }

  #noteLine() {
    for (const block of this.#path) block.endLine = this.#line;
  }

  /** The columns of space that the rest of the line begins with. */
  #indent() {
    let column = this.#column;
    for (const mark of this.#rest) {
      if (mark === " ") column++;
      else if (mark === "\t") column += 4 - (column % 4);
      else break;
    }
    return column - this.#column;
  }

  /**
   * Take up to that many columns of space from the rest of the line.
   * @param {number} columns
   */
  #drop(columns) {
    const end = this.#column + columns;
    let at = 0;
    while (this.#column < end) {
      const width = this.#rest[at] === " " ? 1 : this.#rest[at] === "\t" ? 4 - (this.#column % 4) : 0;
      if (!width) break;
      at++;
      this.#column += width;
    }
    const rest = this.#rest.slice(at);
    const over = Math.max(0, this.#column - end);
    this.#rest = " ".repeat(over) + rest;
    this.#column -= over;
  }

  #takeQuote() {
    if (this.#indent() > 3 || this.#rest.trimStart()[0] !== ">") return false;
    this.#drop(this.#indent());
    this.#rest = this.#rest.slice(1);
    this.#column++;
    this.#drop(1);
    return true;
  }
}

/** @param {Block[]} blocks */
function touch(blocks) {
  for (const block of blocks) block.version = ++clock;
}
