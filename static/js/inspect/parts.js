// Small parts that several stages make: elements, facts with their kind, tables, bars.

import { translate } from "../chat/i18n.js";

/**
 * An element with a class and content.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {string} className
 * @param {...(Node | string)} content
 */
export function make(name, className = "", ...content) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/**
 * A number with what it is and how it is known.
 * @param {string} name
 * @param {string} value
 * @param {"measured" | "derived" | "assumed"} kind
 */
export function fact(name, value, kind) {
  const shown = make("span", "fact", make("span", "fact-name", name), make("b", "", value));
  shown.append(kindMark(kind));
  return shown;
}

const plain = new Intl.NumberFormat(document.documentElement.lang || "en", { maximumFractionDigits: 4 });

/**
 * A sampler's setting as the page's language writes it: "0.05".
 * @param {number} value
 */
export const setting = (value) => plain.format(value);

/** @param {"measured" | "derived" | "assumed"} kind */
export function kindMark(kind) {
  const mark = make("span", "kind", translate(kind));
  mark.dataset.kind = kind;
  mark.title = translate(kind);
  return mark;
}

/**
 * A token in quotation, white space visible.
 * @param {string} text
 * @param {boolean} isSpecial
 */
export const tokenChip = (text, isSpecial = false) => make("code", isSpecial ? "chip special" : "chip", text);

/**
 * Fill a table once its details are opened.
 * @param {HTMLElement} details
 * @param {string[]} heads
 * @param {() => Iterable<(string | Node)[]>} rows numbers are right-aligned from the cell that begins with one
 */
export function tableBehind(details, heads, rows) {
  details.addEventListener(
    "toggle",
    () => {
      const table = make("table", "figures");
      const head = table.createTHead().insertRow();
      for (const words of heads) {
        const cell = make("th", "", words);
        cell.scope = "col";
        head.append(cell);
      }
      const body = table.createTBody();
      for (const row of rows()) {
        const line = body.insertRow();
        for (const value of row) line.insertCell().append(value);
      }
      details.querySelector(".scroll")?.replaceChildren(table);
    },
    { once: true },
  );
}
