// Formulas, drawn as MathML by KaTeX. The library is fetched when the first formula is on the page;
// until then, and where it can't draw one, the source stands as it was written.

/** @typedef {import("./math-marks.js").Formula} Formula */

const LIMITS = { output: "mathml", throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 };
const MAX_TEX = 5000;
const STYLED = /\\(?:fcolorbox|pmb)\b/; // drawn by style attributes, which the policy forbids

/** @type {typeof globalThis.katex | null} */
let katex = null;
/** @type {Promise<unknown> | null} */
let loading = null;
/** @type {WeakMap<Element, Formula>} */
const formulas = new WeakMap();

// A formula that is wider than its column can be reached and moved by keys.
const width = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth + 1) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
});

/**
 * An element that shows this formula, at once when the library is there.
 * @param {Formula} formula
 */
export function mathElement(formula) {
  const element = document.createElement("span");
  element.className = formula.isDisplay ? "math display" : "math";
  element.dir = "ltr";
  element.textContent = formula.raw;
  formulas.set(element, formula);
  if (formula.isDisplay) width.observe(element);
  if (katex) draw(element, formula);
  else library().then(() => draw(element, formula), () => {});
  return element;
}

/**
 * Whether this element shows this formula.
 * @param {Node} element
 * @param {Formula} formula
 */
export function showsFormula(element, { raw, isDisplay }) {
  const shown = element instanceof Element ? formulas.get(element) : undefined;
  return shown?.raw === raw && shown.isDisplay === isDisplay;
}

/**
 * The source of the formula that this element shows.
 * @param {Element} element
 */
export const sourceOf = (element) => formulas.get(element)?.raw ?? element.textContent;

function library() {
  loading ??= import("../../vendor/katex/katex.min.js").then(() => (katex = globalThis.katex));
  return loading;
}

/**
 * @param {Element} element
 * @param {Formula} formula
 */
function draw(element, { raw, tex, isDisplay }) {
  if (!katex || STYLED.test(tex) || tex.length > MAX_TEX) return;
  try {
    katex.render(tex, element, { ...LIMITS, displayMode: isDisplay });
  } catch {
    element.textContent = raw;
  }
}
