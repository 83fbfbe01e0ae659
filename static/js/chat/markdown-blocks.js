// The blocks of a Markdown text, read line by line: what a line belongs to depends on the lines
// before it alone, so a growing text costs its new lines, however long it is. What stands inside a
// block's text is read by markdown-inline.js; docs/markdown.md states the dialect.

import * as is from "./markdown-block.js";
import { Line } from "./markdown-line.js";
import { CONTAINERS, OpenBlocks } from "./markdown-open-blocks.js";

/** @typedef {import("./markdown-block.js").Block} Block */
/** @typedef {import("./markdown-block.js").BlockType} BlockType */
/** @typedef {import("./markdown-open-blocks.js").Mark} Mark */

/** Lines that go on with one of these may also begin another block. */
const INTERRUPTED = new Set([...CONTAINERS, "list", "paragraph", "table"]);

/** How many blocks may stand in each other; deeper ones are text. */
const DEEPEST = 60;

export class BlockParser {
  /** @type {Map<string, import("./markdown-block.js").Reference>} by label */
  references = new Map();
  /** @type {Set<string>} labels of the notes that are defined */
  notes = new Set();
  /** The whole text, as far as it is known: it says which definitions are used. */
  source = "";
  /** @type {Set<string>} labels of references that a link was made of */
  used = new Set();
  #blocks = new OpenBlocks((paragraph) => this.#takeReferences(paragraph));
  #line = new Line();

  /** @param {Set<string>} unused labels of references that are known to be used nowhere */
  constructor(unused = new Set()) {
    this.unused = unused;
  }

  get document() {
    return this.#blocks.document;
  }

  /** The innermost open block. */
  get tip() {
    return this.#blocks.tip;
  }

  /** Where to go back to when the next line is only half there. */
  mark() {
    return this.#blocks.mark();
  }

  /** @param {Mark} mark */
  goBack(mark) {
    this.#blocks.goBack(mark);
  }

  /** No more lines: what is open ends. */
  end() {
    this.#blocks.touch();
    this.#blocks.closeFrom(1);
  }

  /**
   * Read one line, without its newline.
   * @param {string} line
   */
  feed(line) {
    this.#line.begin(line);
    this.#blocks.beginLine();
    this.#read();
    this.#blocks.touch();
  }

  #read() {
    const matched = this.#goOn();
    if (matched === null) return;
    const details = this.#detailsEndingHere();
    const isLazy = matched < this.#blocks.depth && this.#blocks.tip.type === "paragraph";
    const opened = this.#begin(matched);
    if (opened !== null) {
      const isBlank = this.#line.isBlank;
      if (!isLazy || opened !== matched || isBlank) this.#blocks.closeFrom(opened);
      if (!isBlank || this.#blocks.tip.type === "code") this.#add();
    }
    if (details) this.#blocks.close(details);
  }

  /** How many of the open blocks this line goes on with; null when that is all it does. */
  #goOn() {
    for (let index = 1; index < this.#blocks.depth; index++) {
      const block = this.#blocks.at(index);
      const isBlank = this.#line.isBlank;
      switch (block.type) {
        case "quote":
          if (!this.#line.takeQuote()) return index;
          break;
        case "item":
        case "note":
          if (isBlank ? !block.children.length : this.#line.indent() < block.padding) return index;
          this.#line.drop(block.padding);
          break;
        case "summary":
          this.#addToSummary(block);
          return null;
        case "math":
          if (isBlank) return index;
          this.#addToMath(block);
          return null;
        case "code":
          if (block.marker ? this.#isEndOf(block) : !isBlank && this.#line.indent() < 4) {
            if (!block.marker) return index;
            this.#blocks.noteLine();
            this.#blocks.closeFrom(index);
            return null;
          }
          this.#line.drop(block.marker ? block.padding : 4);
          break;
        case "html":
        case "table":
        case "paragraph":
          if (isBlank) return index;
          break;
        default: // a list goes on with its items, details until their end
      }
    }
    return this.#blocks.depth;
  }

  /** The details that end with this line; their end is taken from it. */
  #detailsEndingHere() {
    if (this.#blocks.tip.type === "code" || !is.DETAILS_END.test(this.#line.rest)) return null;
    const details = this.#blocks.innermost("details");
    if (details) this.#line.rest = this.#line.rest.replace(is.DETAILS_END, "");
    return details;
  }

  /**
   * Open what this line begins inside the first `matched` blocks. Returns how many blocks then go
   * on; null when nothing of the line is left.
   * @param {number} matched
   */
  #begin(matched) {
    for (;;) {
      const container = this.#blocks.at(matched - 1);
      const text = this.#line.rest.trimStart();
      if (!text || !INTERRUPTED.has(container.type)) return matched;
      if (this.#line.indent() >= 4) {
        if (this.#blocks.tip.type === "paragraph" || container.type === "table") return matched;
        this.#line.drop(4);
        return this.#blocks.open(matched, "code");
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
      this.#line.takeQuote();
      return this.#blocks.open(matched, "quote");
    }
    const details = is.DETAILS.exec(text);
    if (details) {
      this.#line.drop(this.#line.indent());
      this.#line.rest = this.#line.rest.slice(details[0].length);
      const depth = this.#blocks.open(matched, "details");
      this.#blocks.tip.isLoose = Boolean(details[1]);
      return depth;
    }
    const note = is.NOTE.exec(text);
    if (note) {
      this.#line.drop(this.#line.indent());
      this.#line.rest = this.#line.rest.slice(note[0].length);
      const depth = this.#blocks.open(matched, "note");
      [this.#blocks.tip.info, this.#blocks.tip.padding] = [note[1], 4];
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
    const before = this.#blocks.at(matched - 1);
    if (before.type === "paragraph" && (isEmpty || (number && Number(number) !== 1))) return undefined;
    const indent = this.#line.indent();
    this.#line.drop(indent);
    this.#line.take(marker.length);
    const space = this.#line.indent();
    const width = isEmpty || space > 4 ? 1 : space;
    this.#line.drop(width);
    this.#line.rest = this.#line.rest.replace(is.TASK, (_, state) => (state === " " ? "☐ " : "☑ "));
    const kind = bullet ?? delimiter;
    let depth = matched;
    if (before.type !== "list" || before.marker !== kind) {
      depth = this.#blocks.open(matched, "list");
      this.#blocks.tip.marker = kind;
      this.#blocks.tip.start = number ? Number(number) : null;
    }
    depth = this.#blocks.open(depth, "item");
    this.#blocks.tip.padding = indent + marker.length + width;
    return depth;
  }

  /**
   * @param {number} matched
   * @param {Block} container
   * @param {string} text
   * @returns {number | null | undefined} undefined when nothing begins here
   */
  #beginLeaf(matched, container, text) {
    const isTip = container.type === "paragraph" && matched === this.#blocks.depth;
    const heading = is.HEADING.exec(text);
    if (heading) return this.#whole(matched, "heading", is.wordsOfHeading(heading[2]), heading[1].length);
    if (isTip && is.UNDERLINE.test(text) && this.#takeReferences(container)) {
      [container.type, container.depth] = ["heading", text[0] === "=" ? 1 : 2];
      this.#blocks.noteLine();
      this.#blocks.closeFrom(matched - 1);
      return null;
    }
    const columns = isTip ? is.columnsOf(text) : null;
    if (columns && this.#becomesTable(container, columns)) return null;
    if (is.RULE.test(text)) return this.#whole(matched, "rule", "", 0);
    const fence = is.FENCE.exec(text);
    if (fence) {
      const indent = this.#line.indent();
      this.#blocks.open(matched, "code");
      [this.#blocks.tip.marker, this.#blocks.tip.info, this.#blocks.tip.padding] = [fence[1], fence[2].trim(), indent];
      return null;
    }
    if (container.type === "details" && !container.children.length && is.SUMMARY.test(text)) {
      this.#blocks.open(matched, "summary");
      this.#line.rest = text.replace(is.SUMMARY, "");
      this.#addToSummary(this.#blocks.tip);
      return null;
    }
    const end = is.endOfMath(text);
    if (end) {
      this.#blocks.open(matched, "math");
      this.#blocks.tip.marker = end;
      this.#addToMath(this.#blocks.tip);
      return null;
    }
    if (container.type !== "paragraph" && is.HTML.test(text)) return this.#blocks.open(matched, "html");
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
    const length = this.#blocks.open(matched, type);
    [this.#blocks.tip.text, this.#blocks.tip.depth] = [text, depth];
    this.#blocks.closeFrom(length - 1);
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
      this.#blocks.open(this.#blocks.depth, "table");
      table = this.#blocks.tip;
    } else {
      [table.type, table.text] = ["table", ""];
    }
    table.align = columns;
    this.#blocks.addRow(table, cells);
    return true;
  }

  /** Put the rest of the line into the innermost block, or into a new paragraph. */
  #add() {
    if (CONTAINERS.has(this.#blocks.tip.type) || this.#blocks.tip.type === "list") this.#blocks.open(this.#blocks.depth, "paragraph");
    const block = this.#blocks.tip;
    if (block.type === "table") this.#blocks.addRow(block, is.cellsOf(this.#line.rest, block.align.length));
    else if (block.type === "code") block.text += `${this.#line.rest}\n`;
    else if (block.type === "html") block.text += (block.text && "\n") + this.#line.rest;
    else block.text += (block.text && "\n") + this.#line.rest.trim();
    this.#blocks.noteLine();
  }

  /** @param {Block} summary */
  #addToSummary(summary) {
    const end = is.SUMMARY_END.exec(this.#line.rest);
    const line = end ? this.#line.rest.slice(0, end.index) : this.#line.rest;
    summary.text += (summary.text && line.trim() && "\n") + line.trim();
    this.#blocks.noteLine();
    if (!end) return;
    const depth = this.#blocks.indexOf(summary);
    const rest = this.#line.rest.slice(end.index + end[0].length);
    this.#blocks.closeFrom(depth);
    const details = this.#blocks.at(depth - 1);
    const isEnd = is.DETAILS_END.test(rest);
    const text = rest.replace(is.DETAILS_END, "");
    if (text.trim()) {
      this.#line.rest = text;
      this.#add();
    }
    if (isEnd) this.#blocks.close(details);
  }

  /** @param {Block} math */
  #addToMath(math) {
    const line = this.#line.rest.trim();
    math.text += (math.text && "\n") + line;
    this.#blocks.noteLine();
    const isFirst = math.startLine === this.#blocks.line;
    const at = line.indexOf(math.marker, isFirst && line.startsWith(math.marker) ? math.marker.length : 0);
    if (at < 0) return;
    if (line.length > at + math.marker.length) math.type = "paragraph"; // words follow: not a block
    else this.#blocks.closeFrom(this.#blocks.indexOf(math), true);
  }

  /**
   * Whether this line ends a block of code. In a block of Markdown, fences with a language and
   * their ends belong to it.
   * @param {Block} code
   */
  #isEndOf(code) {
    const fence = this.#line.indent() <= 3 ? is.FENCE.exec(this.#line.rest.trimStart()) : null;
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
   * Take the definitions from the beginning of a paragraph; returns the text that is left.
   * @param {Block} paragraph
   */
  #takeReferences(paragraph) {
    if (paragraph.text[0] === "[") paragraph.text = is.withoutReferences(paragraph.text, this);
    return paragraph.text;
  }

}
