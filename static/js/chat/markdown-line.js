// What is left of the line that is being read, and the column it begins at: a tab is as wide as the
// column it stands in says.

export class Line {
  /** What is left to read. */
  rest = "";
  #column = 0;

  /**
   * Begin another line.
   * @param {string} text without its newline
   */
  begin(text) {
    this.rest = text;
    this.#column = 0;
  }

  get isBlank() {
    return !this.rest.trim();
  }

  /**
   * Take a mark that the rest begins with.
   * @param {number} length
   */
  take(length) {
    this.rest = this.rest.slice(length);
    this.#column += length;
  }

  /** The columns of space that the rest of the line begins with. */
  indent() {
    let column = this.#column;
    for (const mark of this.rest) {
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
  drop(columns) {
    const end = this.#column + columns;
    let at = 0;
    while (this.#column < end) {
      const width = this.rest[at] === " " ? 1 : this.rest[at] === "\t" ? 4 - (this.#column % 4) : 0;
      if (!width) break;
      at++;
      this.#column += width;
    }
    const rest = this.rest.slice(at);
    const over = Math.max(0, this.#column - end);
    this.rest = " ".repeat(over) + rest;
    this.#column -= over;
  }

  takeQuote() {
    if (this.indent() > 3 || this.rest.trimStart()[0] !== ">") return false;
    this.drop(this.indent());
    this.take(1);
    this.drop(1);
    return true;
  }
}
