// One block of a Markdown text, and what its first line looks like.

/** @typedef {"document" | "quote" | "list" | "item" | "note" | "details" | "summary" | "paragraph" | "heading" | "code" | "math" | "html" | "rule" | "table" | "row"} BlockType */

export const FENCE = /^(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
export const HEADING = /^(#{1,6})(?=[ \t]|$)(.*)$/;
export const RULE = /^(?:(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|(?:\*[ \t]*){3,})$/;
export const UNDERLINE = /^(?:=+|-+)[ \t]*$/;
export const ITEM = /^(?:([-*+])|(\d{1,9})([.)]))(?=[ \t]|$)/;
export const TASK = /^\[([ xX])\][ \t]+(?=\S)/;
export const NOTE = /^\[\^([^\s\]]{1,40})\]:[ \t]*/;
export const DETAILS = /^<details( open)?>[ \t]*/i;
export const DETAILS_END = /<\/details>[ \t]*$/i;
export const SUMMARY = /^<summary>/i;
export const SUMMARY_END = /<\/summary>[ \t]*/i;
export const HTML = new RegExp(
  "^(?:</?(?:address|article|aside|base|blockquote|body|button|canvas|caption|center|col|colgroup|dd|dialog|dir|div|dl|dt|" +
    "fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|" +
    "meta|nav|noframes|object|ol|optgroup|option|p|param|pre|script|search|section|select|style|svg|table|tbody|td|" +
    "template|textarea|tfoot|th|thead|title|tr|track|ul|video)(?:\\s|/?>|$)|<!--|<\\?|<![A-Za-z])",
  "i",
);
export const ENVIRONMENT =
  "\\\\begin\\{((?:align|alignat|aligned|equation|gather|gathered|multline|split|array|[dr]?cases|CD|[bBpvV]?matrix|smallmatrix)\\*?)\\}";
const MATH = new RegExp(`^(?:(\\$\\$)|(\\\\\\[)|${ENVIRONMENT})`);

/** One block: its text or its children, and what its kind needs. */
export class Block {
  /** @type {Block[]} */
  children = [];
  text = "";
  startLine = 0;
  endLine = 0;
  /** Another one after every line that could have changed it. */
  version = 0;
  isOpen = true;
  /** What the items of a list are marked by, what opened a fence, what ends a formula. */
  marker = "";
  /** @type {number | null} the first number of an ordered list */
  start = null;
  /** A list with blank lines between its items; details that are shown from the start. */
  isLoose = false;
  /** Columns that the lines of an item, a note or a fence are indented by. */
  padding = 0;
  /** The level of a heading; how many fences are open inside a block of Markdown. */
  depth = 0;
  /** The language of code, the label of a note. */
  info = "";
  /** @type {string[]} by column of a table */
  align = [];
  /** @type {string[]} of a row */
  cells = [];

  /** @param {BlockType} type */
  constructor(type) {
    this.type = type;
  }
}

/**
 * What ends the formula that this line begins; null when the line is no beginning of one.
 * @param {string} line
 */
export function endOfMath(line) {
  const match = MATH.exec(line);
  if (!match) return null;
  const end = match[1] ?? (match[2] ? "\\]" : `\\end{${match[3]}}`);
  const at = line.indexOf(end, match[0].length);
  return at >= 0 && line.slice(at + end.length).trim() ? null : end;
}

/**
 * The words of a heading's line, without the marks that may end it.
 * @param {string} line what follows the marks that begin it
 */
export function wordsOfHeading(line) {
  const text = line.trim();
  let end = text.length;
  while (text[end - 1] === "#") end--;
  return end === 0 || /[ \t]/.test(text[end - 1]) ? text.slice(0, end).trimEnd() : text;
}

/**
 * How the columns of a table are aligned, if this is the line below its head.
 * @param {string} line
 */
export function columnsOf(line) {
  if (!/^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/.test(line) || !/[|:]/.test(line)) return null;
  return line
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((part) => {
      const [isStart, isEnd] = [/^\s*:/.test(part), /:\s*$/.test(part)];
      return isStart && isEnd ? "center" : isEnd ? "right" : isStart ? "left" : "";
    });
}

/**
 * The cells of a table's row. Where a bar stands inside code and there would be too many cells, it
 * doesn't part them; what is still too much goes into the last one, so that no text is lost.
 * @param {string} line
 * @param {number} [count]
 */
export function cellsOf(line, count = 0) {
  let cells = parted(line);
  if (count && cells.length > count) cells = parted(line.replace(/(`+)[^`]+\1(?!`)/g, (code) => code.replaceAll(/(?<!\\)\|/g, "\\|")));
  if (count && cells.length > count) cells.push(cells.splice(count - 1).join(" | "));
  while (cells.length < count) cells.push("");
  return cells;
}

/** @param {string} line */
function parted(line) {
  const row = line.trim().replace(/^\|/, "").replace(/(?<!\\)((?:\\\\)*)\|$/, "$1");
  return row.split(/(?<!\\)(?:\\\\)*\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/** @typedef {{ href: string, title: string }} Reference */

const REFERENCE =
  /^\[((?!\^)(?:\\.|[^\]\\])+)\]:[ \t]*\n?[ \t]*(<[^>\n]*>|[^\s<]\S*)(?:(?:[ \t]*\n[ \t]*|[ \t]+)("[^"]*"|'[^']*'|\([^)]*\)))?[ \t]*(?:\n|$)/;

/**
 * Take the definitions of links from the beginning of a paragraph; returns the text that is shown.
 * One that nothing refers to is shown: as far as the source tells, unless it is known to be `unused`.
 * @param {string} text
 * @param {{ references: Map<string, Reference>, unused: Set<string>, source: string }} definitions
 */
export function withoutReferences(text, { references, unused, source }) {
  let shown = "";
  let rest = text;
  for (let match; (match = REFERENCE.exec(rest)); rest = rest.slice(match[0].length)) {
    const label = labelOf(match[1]);
    const href = match[2].replace(/^<|>$/g, "");
    if (!references.has(label)) references.set(label, { href, title: match[3]?.slice(1, -1) ?? "" });
    const isUsed = !unused.has(label) && source.toLowerCase().replaceAll(`[${label}]:`, "").includes(`[${label}]`);
    if (!isUsed) shown += match[0];
  }
  return (shown + rest).trimEnd();
}

/** @param {string} label */
export const labelOf = (label) => label.trim().replace(/\s+/g, " ").toLowerCase();
