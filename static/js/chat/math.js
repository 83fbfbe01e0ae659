// Mathematics between dollar signs or TeX's own brackets, drawn as MathML by KaTeX. The library is
// fetched when the first formula is on the page; until then, and if it fails, the source stands.

import { escaped } from "./html.js";

const BLOCK = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/;
const INLINE = /^(?:\$\$([^$\n]+?)\$\$|\\\(([^\n]+?)\\\)|\\\[([^\n]+?)\\\]|\$(?![\s$])((?:\\.|[^$\\\n])*?(?:\\.|[^\s$\\\n]))\$(?!\d))/;
const LIMITS = { output: "mathml", throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 };
const MAX_TEX = 5000;
const STYLED = /\\(?:fcolorbox|pmb)\b/; // drawn by style attributes, which the policy forbids

/** @type {typeof globalThis.katex | null} */
let katex = null;

/** @type {import("../../vendor/marked/marked.js").Extension[]} */
export const mathExtensions = [
  {
    name: "mathBlock",
    level: "block",
    start: (source) => source.match(/^ {0,3}(?:\$\$|\\\[)/m)?.index,
    tokenizer: (source) => tokenOf("mathBlock", BLOCK.exec(source), true),
    renderer: elementOf,
  },
  {
    name: "mathInline",
    level: "inline",
    start: (source) => source.match(/\$|\\[([]/)?.index,
    tokenizer: (source) => tokenOf("mathInline", INLINE.exec(source), false),
    renderer: elementOf,
  },
];

/**
 * @param {string} type
 * @param {RegExpExecArray | null} match
 * @param {boolean} isBlock
 */
function tokenOf(type, match, isBlock) {
  if (!match) return undefined;
  const tex = match.slice(1).find((part) => part !== undefined);
  return { type, raw: match[0], tex, isDisplay: isBlock || /^(?:\$\$|\\\[)/.test(match[0]) };
}

/** @param {{ raw: string, tex: string, isDisplay: boolean }} token */
function elementOf({ raw, tex, isDisplay }) {
  const source = escaped(tex.length > MAX_TEX ? raw : tex.trim());
  return `<span class="math${isDisplay ? " display" : ""}">${source}</span>`;
}

/**
 * Draw the formulas of this block, at once when the library is there.
 * @param {HTMLElement} block
 */
export function drawMath(block) {
  const formulas = block.querySelectorAll(".math");
  if (!formulas.length) return;
  if (katex) formulas.forEach(draw);
  else library().then(() => formulas.forEach(draw), () => {});
}

/** @type {Promise<unknown> | null} */
let loading = null;

function library() {
  loading ??= import("../../vendor/katex/katex.min.js").then(() => (katex = globalThis.katex));
  return loading;
}

/** @param {Element} element */
function draw(element) {
  const tex = element.textContent;
  if (!katex || STYLED.test(tex)) return;
  try {
    katex.render(tex, element, { ...LIMITS, displayMode: element.classList.contains("display") });
  } catch {
    element.textContent = tex;
  }
}
