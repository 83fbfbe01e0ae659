// Where a formula begins and ends in a text. Dollars are also money and variables of a shell: a
// formula is what stands close between two of them, with neither a word nor a path against them.

import { ENVIRONMENT } from "./markdown-block.js";

/** @typedef {{ raw: string, tex: string, isDisplay: boolean }} Formula */

const DISPLAY = /\$\$([^$]+?)\$\$/y;
const INLINE = /\$((?:\\[^\n]|[^$\\\n])+?)\$(?![\p{L}\p{N}_/{$])/uy;
const BRACKETS = /\\\(([^\n]{1,1000}?)\\\)|\\\[([^]{1,5000}?)\\\]/y;
const BEGIN = new RegExp(`${ENVIRONMENT}[^]{0,5000}?\\\\end\\{\\1\\}`, "y");
const TEX = /[\\^_{}=<>]/;

/**
 * The formula between dollars that begins at this place, after that character.
 * @param {string} text
 * @param {number} at
 * @param {string} before
 * @returns {Formula | null}
 */
export function dollarFormula(text, at, before) {
  const display = exec(DISPLAY, text, at);
  if (display?.[1].trim()) return { raw: display[0], tex: display[1].trim(), isDisplay: true };
  if (!mayOpen(text, at, before)) return null;
  const inline = exec(INLINE, text, at);
  if (!inline || /\s$/.test(inline[1]) || isProse(inline[1])) return null;
  if (inline[1][0] === "(" && text[at + inline[0].length] === "(") return null; // $(a)$(b)
  return { raw: inline[0], tex: inline[1], isDisplay: false };
}

/**
 * The formula between TeX's own brackets, or in an environment, that begins at this place.
 * @param {string} text
 * @param {number} at
 * @returns {Formula | null}
 */
export function texFormula(text, at) {
  const found = exec(BRACKETS, text, at);
  if (found) {
    const tex = (found[1] ?? found[2]).trim();
    return tex ? { raw: found[0], tex, isDisplay: found[1] === undefined } : null;
  }
  const [raw] = exec(BEGIN, text, at) ?? [];
  return raw ? { raw, tex: raw, isDisplay: true } : null;
}

/**
 * Whether a formula may have begun at this place whose end is still to be written.
 * @param {string} text
 * @param {number} at
 * @param {string} before
 */
export function isFormulaToCome(text, at, before) {
  const rest = text.slice(at);
  if (rest.length > 2000) return false;
  if (/^\\(?:$|\[(?![^]*\\\])|b(?:e(?:g(?:i(?:n[^]*)?)?)?)?$)/.test(rest)) return !/^\\begin(?!\{|$)/.test(rest);
  if (/^\\\([^\n]*$/.test(rest)) return rest.length < 500;
  if (/^\$\$[^$]*\$?$/.test(rest)) return true;
  if (rest === "$") return mayOpen(`${text}x`, at, before);
  if (!mayOpen(text, at, before) || !/^\$(?:\\[^\n]|[^$\\\n])*(?:\\|\$)?$/.test(rest)) return false;
  const tex = rest.slice(1).replace(/\$$/, "");
  return !isProse(tex) && rest.length < (TEX.test(tex) ? 500 : 40);
}

/**
 * @param {string} text
 * @param {number} at
 * @param {string} before
 */
const mayOpen = (text, at, before) => !/[\p{L}\p{N}$\\]/u.test(before) && /[^\s$]/.test(text[at + 1] ?? " ");

/** @param {string} tex words or an amount, and nothing that TeX has */
const isProse = (tex) =>
  !TEX.test(tex) && (/\p{L}{2,}\s+\p{L}{2,}/u.test(tex) || /^\d[\d.,]*(?:\s*[-–—,;]|\s+[\p{L}(]|\p{L}{2,})/u.test(tex) || /^\p{Lu}{2,}\W*$/u.test(tex) && /\W$/.test(tex));

/**
 * @param {RegExp} sticky
 * @param {string} text
 * @param {number} at
 */
function exec(sticky, text, at) {
  sticky.lastIndex = at;
  return sticky.exec(text);
}
