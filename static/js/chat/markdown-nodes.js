// What stands inside a paragraph, as plain data: texts, and elements that hold others. It is read by
// markdown-inline.js and put on the page by markdown-elements.js.

/** @typedef {{ tag: string, attributes?: Record<string, string>, children: Inline[], math?: import("./math-marks.js").Formula }} InlineElement */
/** @typedef {string | InlineElement} Inline */

/**
 * @param {string} href
 * @param {Inline[]} children
 */
export function anchor(href, children, title = "") {
  /** @type {Record<string, string>} */
  const attributes = { href, target: "_blank", rel: "noopener noreferrer nofollow" };
  if (title) attributes.title = title;
  return { tag: "a", attributes, children };
}

/** @param {string} label */
export const noteLink = (label) => ({
  tag: "sup",
  children: [{ tag: "a", attributes: { href: "#note", role: "doc-noteref", "data-note": label.toLowerCase() }, children: [label] }],
});

/** @param {string} text */
export function codeOf(text) {
  const code = text.replaceAll("\n", " ");
  const shown = /^ .*[^ ].* $|^ [^ ] $/.test(code) ? code.slice(1, -1) : code;
  return { tag: "code", attributes: { dir: "ltr" }, children: [shown] };
}

/** @param {Inline | undefined} node */
export const isBreak = (node) => typeof node === "object" && node.tag === "br";

/**
 * The nodes with neighbouring texts as one.
 * @param {Inline[]} nodes
 */
export function merged(nodes) {
  /** @type {Inline[]} */
  const all = [];
  for (const node of nodes) {
    const last = all.at(-1);
    if (typeof node === "string" && typeof last === "string") all[all.length - 1] = last + node;
    else if (node !== "") all.push(node);
  }
  return all;
}

/**
 * The words of these nodes, without their marks.
 * @param {Inline[]} nodes
 * @returns {string}
 */
export const textOf = (nodes) => nodes.map((node) => (typeof node === "string" ? node : (node.math?.raw ?? textOf(node.children)))).join("");
