// What the end of a growing Markdown text most likely means. Without it a page flickers: a list
// looks like a heading for one token, stars stand there until their partners come.

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const MARKER = /(?:^|\n)[ \t>]*(?:[-*+_=~`|:][-*+_=~`|: \t]*|#{1,6}|\d{1,9}[.)]?|[-*+] \[[ x]?\]?|>)?[ \t]*$/;
const TABLE_HEAD = /^[ \t]*\|[^\n]*(?:\n[-|: \t]*)?$/; // shown when its second line is complete
const OPEN_LINK = /!?\[[^[\]\n]{0,200}(?:\](?:\((?:[^()\n]|\([^()\n]*\)?)*)?)?$/;
const LINK = /\]\((?:[^()\n]|\([^()\n]*\))*\)|https?:\/\/\S+/g;
const MATH = /\$\$[^$]+\$\$|\\\(.+?\\\)|\\\[[^]+?\\\]|\$(?![\s$\d])[^$\n]*[^\s$]\$/g;
const OPEN_MATH = /(?:\$\$[^$]{0,2000}|\\(?:\([^\n]{0,500}|\[[^]{0,2000})?|\$(?:[^\s$\d][^$\n]{0,500})?)\$?$/;
const CODE = /(`+)[^`]+\1(?!`)/g;
const OPEN_TAG = /<[a-zA-Z/][^>\n]{0,200}$/;
const MARKS = /\*{1,3}|_{1,3}|~{1,2}/g;

/**
 * `text` with its half-written end closed or held back. Only the last block is touched.
 * @param {string} text
 */
export function autoclose(text) {
  const start = startOfLastBlock(text);
  const last = text.slice(start);
  if (isOpenFence(last)) return text.slice(0, start) + withoutPartialFence(last);
  return text.slice(0, start) + autocloseInline(withoutMarker(last));
}

/** @param {string} text */
function startOfLastBlock(text) {
  const lines = text.split("\n");
  let at = 0;
  let start = 0;
  let fence = "";
  for (const [index, line] of lines.entries()) {
    const mark = FENCE.exec(line)?.[1];
    if (!fence && mark) [fence, start] = [mark, at];
    else if (fence && mark?.startsWith(fence) && !line.trim().replaceAll(fence[0], "")) [fence, start] = ["", at + line.length + 1];
    else if (!fence && !line.trim() && index < lines.length - 1) start = at + line.length + 1;
    at += line.length + 1;
  }
  return Math.min(start, text.length);
}

const isOpenFence = (/** @type {string} */ block) => FENCE.test(block);

/**
 * A fence whose line isn't complete shows nothing; one that may just be closing isn't code.
 * @param {string} block
 */
function withoutPartialFence(block) {
  if (!block.includes("\n")) return "";
  return block.replace(/\n {0,3}[`~]{1,2}$/, "");
}

/**
 * Hold back a last line that is only a marker: of a list, heading, quote, rule, fence or table.
 * @param {string} block
 */
function withoutMarker(block) {
  if (TABLE_HEAD.test(block)) return "";
  return block.replace(MARKER, "");
}

/**
 * Hold back a formula, a link or a tag that is open at the end, and close code and emphasis.
 * @param {string} block
 */
function autocloseInline(block) {
  const text = withoutOpenMath(block).replace(OPEN_LINK, "").replace(OPEN_TAG, "");
  const plain = masked(text, CODE, MATH, LINK);
  const tick = plain.indexOf("`");
  if (tick >= 0) {
    const [ticks = "`"] = /^`+/.exec(plain.slice(tick)) ?? [];
    const code = text.slice(tick + ticks.length);
    return code.trim() ? text + ticks : autocloseEmphasis(text.slice(0, tick), plain);
  }
  return autocloseEmphasis(text, plain);
}

/** @param {string} block */
function withoutOpenMath(block) {
  const at = masked(block, CODE, MATH).search(OPEN_MATH);
  return at < 0 ? block : block.slice(0, at);
}

/**
 * `text` with what these patterns match made meaningless, at the same length.
 * @param {string} text
 * @param {RegExp[]} patterns
 */
function masked(text, ...patterns) {
  return patterns.reduce((rest, pattern) => rest.replace(pattern, (part) => "x".repeat(part.length)), text);
}

/**
 * @param {string} text
 * @param {string} plain `text` with code, formulas and links masked
 */
function autocloseEmphasis(text, plain) {
  /** @type {{ mark: string, index: number }[]} */
  const open = [];
  let end = text.length;
  for (const { 0: mark, index } of plain.slice(0, end).matchAll(MARKS)) {
    const before = plain[index - 1] ?? " ";
    const after = plain[index + mark.length] ?? "";
    const isWithinWord = mark[0] === "_" && /\w/.test(before) && /\w/.test(after);
    if (isWithinWord) continue;
    if (/\S/.test(before) && open.at(-1)?.mark === mark) open.pop();
    else if (/\S/.test(after)) open.push({ mark, index });
    else if (!after && index + mark.length === text.length) end = index; // its word is still to come
  }
  let closed = text.slice(0, end);
  const last = open.at(-1);
  if (!last) return closed;
  if (!closed.slice(last.index + last.mark.length).replace(/[*_~]/g, "").trim()) return closed.slice(0, last.index);
  closed = closed.trimEnd().replace(/[*_~]+$/, "");
  return closed + open.reverse().map(({ mark }) => mark).join("");
}
