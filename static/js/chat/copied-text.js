// What a selection of an answer is as text: formulas as they were written. Browsers would copy the
// signs of a drawn formula, without fractions and powers.

import { sourceOf } from "./math.js";

const PARAGRAPHS = new Set(["P", "H1", "H2", "H3", "H4", "H5", "H6", "UL", "OL", "BLOCKQUOTE", "FIGURE", "DETAILS", "TABLE", "HR"]);
const LINES = new Set(["LI", "TR", "SUMMARY", "DIV"]);

/**
 * Put the source of formulas on the clipboard when a selection that has some is copied.
 * @param {ClipboardEvent} event
 */
export function copyFormulas(event) {
  const selection = getSelection();
  if (!selection?.rangeCount || !event.clipboardData || !(event.currentTarget instanceof Element)) return;
  const range = selection.getRangeAt(0);
  const formulas = [...event.currentTarget.querySelectorAll(".math")];
  if (!formulas.some((formula) => range.intersectsNode(formula))) return;
  event.clipboardData.setData("text/plain", textOf(range.commonAncestorContainer, range).trim());
  event.preventDefault();
}

/**
 * @param {Node} node
 * @param {Range} range
 * @returns {string}
 */
function textOf(node, range) {
  if (!range.intersectsNode(node)) return "";
  if (node instanceof Text) {
    const from = node === range.startContainer ? range.startOffset : 0;
    return node.data.slice(from, node === range.endContainer ? range.endOffset : undefined);
  }
  if (!(node instanceof Element)) return "";
  if (node.matches(".math.display")) return `\n\n${sourceOf(node)}\n\n`;
  if (node.matches(".math")) return sourceOf(node);
  if (node.closest(".math")) return sourceOf(/** @type {Element} */ (node.closest(".math")));
  if (node.tagName === "FIGCAPTION") return "";
  if (node.tagName === "BR") return "\n";
  const inner = Array.from(node.childNodes, (child) => textOf(child, range));
  if (node.tagName === "TR") return `${inner.join("\t")}\n`;
  const edge = PARAGRAPHS.has(node.tagName) ? "\n\n" : LINES.has(node.tagName) ? "\n" : "";
  const text = edge + inner.join("") + edge;
  return node.tagName === "PRE" ? text : text.replace(/\n{3,}/g, "\n\n");
}
