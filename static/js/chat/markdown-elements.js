// Puts what markdown-inline.js read on the page. Nodes that stay the same stay: a growing text is
// appended to, so that a selection survives. No markup is ever parsed: there is nothing to sanitise.

import { mathElement, showsFormula } from "./math.js";

/** @typedef {import("./markdown-nodes.js").Inline} Inline */
/** @typedef {import("./markdown-nodes.js").InlineElement} InlineElement */

/**
 * Make the children of `parent` from the one at `from` on show these nodes.
 * @param {Node} parent
 * @param {number} from
 * @param {Inline[]} nodes
 */
export function showInline(parent, from, nodes) {
  let child = from ? parent.childNodes[from] : parent.firstChild;
  for (const [index, node] of nodes.entries()) {
    const shown = typeof node === "string" ? showText(parent, child, node, nodes[index + 1]) : showElement(parent, child, node);
    child = shown.nextSibling;
  }
  while (child) {
    const next = child.nextSibling;
    child.remove();
    child = next;
  }
}

/**
 * @param {Node} parent
 * @param {ChildNode | null} child
 * @param {string} text
 * @param {Inline | undefined} next
 * @returns {ChildNode}
 */
function showText(parent, child, text, next) {
  if (!(child instanceof Text)) return parent.insertBefore(document.createTextNode(text), child);
  const { data } = child;
  if (data === text) return child;
  if (text.startsWith(data)) child.appendData(text.slice(data.length));
  else if (typeof next === "string" && data.startsWith(text)) child.splitText(text.length);
  else {
    const same = commonLength(data, text);
    child.replaceData(same, data.length - same, text.slice(same));
  }
  return child;
}

/**
 * @param {Node} parent
 * @param {ChildNode | null} child
 * @param {InlineElement} node
 * @returns {ChildNode}
 */
function showElement(parent, child, node) {
  const isSame = child instanceof HTMLElement && (node.math ? showsFormula(child, node.math) : isLike(child, node));
  if (isSame) {
    if (node.math) return child;
    setAttributes(child, node.attributes ?? {});
    showInline(child, 0, node.children);
    return child;
  }
  const element = elementOf(node);
  if (child instanceof Text || !child) parent.insertBefore(element, child);
  else child.replaceWith(element);
  return element;
}

/**
 * @param {HTMLElement} child
 * @param {InlineElement} node
 */
const isLike = (child, node) => child.localName === node.tag && !child.classList.contains("math");

/** @param {InlineElement} node */
function elementOf(node) {
  if (node.math) return mathElement(node.math);
  const element = document.createElement(node.tag);
  setAttributes(element, node.attributes ?? {});
  showInline(element, 0, node.children);
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {Record<string, string>} attributes
 */
function setAttributes(element, attributes) {
  for (const name of element.getAttributeNames()) if (!(name in attributes)) element.removeAttribute(name);
  for (const [name, value] of Object.entries(attributes)) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
}

/**
 * @param {string} a
 * @param {string} b
 */
function commonLength(a, b) {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}
