// The blocks that are open, each in the one before: where a new block goes, what ends with it, and
// the way back to an earlier line. Which line opens or ends what is decided by markdown-blocks.js.

import { Block } from "./markdown-block.js";

/** @typedef {import("./markdown-block.js").BlockType} BlockType */
/** @typedef {{ path: Block[], states: object[], counts: number[], line: number }} Mark */

export const CONTAINERS = new Set(["document", "quote", "item", "note", "details"]);

let clock = 0;

export class OpenBlocks {
  document = new Block("document");
  /** The number of the line that is being read. */
  line = 0;
  /** @type {Block[]} from the document to the innermost open block */
  #path = [this.document];
  #ended;

  /** @param {(paragraph: Block) => void} ended is called with each paragraph that ends */
  constructor(ended) {
    this.#ended = ended;
  }

  get depth() {
    return this.#path.length;
  }

  /** @param {number} index 0 is the document */
  at(index) {
    return this.#path[index];
  }

  /** @param {Block} block */
  indexOf(block) {
    return this.#path.indexOf(block);
  }

  /**
   * The innermost open block of this type.
   * @param {BlockType} type
   */
  innermost(type) {
    return this.#path.findLast((block) => block.type === type);
  }

  /** Each line may change every block that is open before or behind it. */
  beginLine() {
    this.line++;
    this.touch();
  }

  /** Note that what is open has changed. */
  touch() {
    touch(this.#path);
  }

  /**
   * A row, which is complete at once.
   * @param {Block} table
   * @param {string[]} cells
   */
  addRow(table, cells) {
    const row = new Block("row");
    [row.cells, row.isOpen, row.version] = [cells, false, ++clock];
    row.startLine = row.endLine = this.line;
    table.children.push(row);
    this.noteLine();
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
    return { path, states: path.map((block) => ({ ...block })), counts: path.map(({ children }) => children.length), line: this.line };
  }

  /** @param {Mark} mark */
  goBack({ path, states, counts, line }) {
    path.forEach((block, index) => {
      Object.assign(block, states[index]);
      block.children.length = counts[index];
    });
    this.#path = [...path];
    this.line = line;
    touch(path);
  }

  /**
   * Open a block behind the first `depth` open ones, or further out where it can't stand there.
   * Returns how many are open then.
   * @param {number} depth
   * @param {BlockType} type
   */
  open(depth, type) {
    const mayHold = (/** @type {BlockType} */ outer) => (type === "item" ? outer === "list" : CONTAINERS.has(outer));
    while (!mayHold(this.#path[depth - 1].type)) depth--;
    this.closeFrom(depth);
    const parent = this.tip;
    const block = new Block(type);
    block.startLine = block.endLine = this.line;
    const before = parent.children.at(-1);
    const list = parent.type === "item" ? this.#path[depth - 2] : parent;
    if (before && list.type === "list" && before.endLine < this.line - 1) list.isLoose = true;
    parent.children.push(block);
    this.#path.push(block);
    return this.#path.length;
  }

  /**
   * End a block, if it is still open.
   * @param {Block} block
   */
  close(block) {
    const depth = this.#path.indexOf(block);
    if (depth > 0) this.closeFrom(depth);
  }

  /**
   * End all but the first `depth` open blocks.
   * @param {number} depth
   * @param {boolean} isWhole a formula that has its end
   */
  closeFrom(depth, isWhole = false) {
    for (const block of this.#path.splice(depth)) {
      block.isOpen = false;
      block.version = ++clock;
      if (block.type === "math" && !isWhole) block.type = "paragraph";
      if (block.type === "paragraph") this.#ended(block);
    }
  }

  /** The line belongs to what is open. */
  noteLine() {
    for (const block of this.#path) block.endLine = this.line;
  }
}

/** @param {Block[]} blocks */
function touch(blocks) {
  for (const block of blocks) block.version = ++clock;
}
