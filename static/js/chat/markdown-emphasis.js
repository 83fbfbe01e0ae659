// Which stars, underscores and tildes belong together. CommonMark's rules, except that marks beside
// Chinese, Japanese and Korean, which have no spaces, open and close as they do beside letters.

/** @typedef {import("./markdown-nodes.js").Inline} Inline */
/** @typedef {{ mark: string, length: number, original: number, at: number, canOpen: boolean, canClose: boolean, isInWord: boolean }} Mark */
/** @typedef {Inline | Mark} Part */

const SPACE = /\s/;
const PUNCTUATION = /[\p{P}\p{S}]/u;
const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\u3000-\u303f\uff00-\uffef\u2e80-\u2fff]/u;
const WORD = /[\p{L}\p{N}]/u;

/**
 * Whether these marks may begin or end something, by the characters on both sides.
 * @param {string} mark
 * @param {string} before
 * @param {string} after
 */
export function flanking(mark, before, after) {
  const isSign = (/** @type {string} */ char) => PUNCTUATION.test(char) && !CJK.test(char);
  const isEdge = (/** @type {string} */ char) => SPACE.test(char) || isSign(char) || CJK.test(char);
  const isLeft = !SPACE.test(after) && (!isSign(after) || isEdge(before));
  const isRight = !SPACE.test(before) && (!isSign(before) || isEdge(after));
  const isInWord = WORD.test(before) && WORD.test(after) && !CJK.test(before) && !CJK.test(after);
  if (mark !== "_") return { canOpen: isLeft, canClose: isRight, isInWord };
  return {
    canOpen: isLeft && (!isRight || PUNCTUATION.test(before)),
    canClose: isRight && (!isLeft || PUNCTUATION.test(after)),
    isInWord,
  };
}

/**
 * The parts with every pair made an element; marks without a partner are text, or with
 * `keepsOpen` stay in the list when they may begin something.
 * @template {boolean} [T=false]
 * @param {Part[]} parts
 * @param {number} reach
 * @param {T} [keepsOpen]
 * @returns {T extends true ? Part[] : Inline[]}
 */
export function paired(parts, reach, keepsOpen) {
  /** @type {Part[]} */
  const list = [];
  /** @type {number[]} where in the list something may be open */
  const opens = [];
  for (const part of parts) {
    if (!isMark(part)) {
      list.push(part);
      continue;
    }
    while (part.canClose && part.length) {
      const at = partnerOf(part, list, opens, reach);
      if (at < 0) break;
      const open = /** @type {Mark} */ (list[at]);
      const width = Math.min(2, open.length, part.length);
      const children = list.splice(at + 1).map(asText);
      open.length -= width;
      part.length -= width;
      while (opens.length && opens[opens.length - 1] > at) opens.pop();
      if (!open.length) {
        list.pop();
        opens.pop();
      }
      list.push({ tag: tagOf(part.mark, width), children });
    }
    if (!part.length) continue;
    if (part.canOpen) opens.push(list.length);
    list.push(part);
  }
  const result = keepsOpen ? list.map((part) => (isMark(part) && part.canOpen ? part : asText(part))) : list.map(asText);
  return /** @type {any} */ (result);
}

/**
 * Where in the list the mark is that this one closes; -1 when there is none.
 * @param {Mark} close
 * @param {Part[]} list
 * @param {number[]} opens
 * @param {number} reach
 */
function partnerOf(close, list, opens, reach) {
  for (let index = opens.length - 1; index >= 0; index--) {
    const at = opens[index];
    const open = /** @type {Mark} */ (list[at]);
    if (close.at - open.at > reach) return -1;
    if (isPair(open, close)) return at;
  }
  return -1;
}

/**
 * Close what is open at the end of a growing text, if it has begun.
 * @param {Part[]} parts
 * @param {number} end
 * @param {number} reach
 * @returns {Inline[]}
 */
export function closeOpen(parts, end, reach) {
  const list = [...parts];
  for (let at = list.length - 1; at >= 0; at--) {
    const open = list[at];
    if (!isMark(open) || open.isInWord || end - open.at > reach) continue;
    /** @type {Inline[]} */
    let children = list.splice(at + 1).map(asText);
    list.pop();
    if (!children.some((child) => typeof child === "object" || child.trim())) continue;
    for (let left = open.length; left > 0; left -= 2) {
      children = [{ tag: tagOf(open.mark, Math.min(2, left)), children }];
    }
    list.push(...children);
  }
  return list.map(asText);
}

/**
 * @param {Mark} open
 * @param {Mark} close
 */
function isPair(open, close) {
  if (open.mark !== close.mark) return false;
  const isEither = open.canClose || close.canOpen;
  return !(isEither && (open.original + close.original) % 3 === 0 && (open.original % 3 || close.original % 3)) || close.mark === "~";
}

/**
 * @param {string} mark
 * @param {number} width
 */
const tagOf = (mark, width) => (mark === "~" ? "del" : width === 2 ? "strong" : "em");

/**
 * Whether a part is marks that have not found their partner.
 * @param {Part} part
 * @returns {part is Mark}
 */
export const isMark = (part) => typeof part === "object" && "mark" in part;

/**
 * A part for the page: marks without a partner are text.
 * @param {Part} part
 * @returns {Inline}
 */
export const asText = (part) => (isMark(part) ? part.mark.repeat(part.length) : part);
