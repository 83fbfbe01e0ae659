// What the list of conversations is made of: groups by day, marked hits, titles that are edited.

import { part } from "../dom.js";
import { translate } from "./i18n.js";
import { page } from "./page.js";

const DAY_MS = 86_400_000;
const month = new Intl.DateTimeFormat(document.documentElement.lang, { month: "long", year: "numeric" });

/**
 * The heading that a conversation of that time stands under.
 * @param {string} iso
 */
export function groupOf(iso) {
  const date = new Date(iso).getTime();
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (date >= midnight) return translate("today");
  if (date >= midnight - DAY_MS) return translate("yesterday");
  if (date >= midnight - 7 * DAY_MS) return translate("last_week");
  return month.format(date);
}

/** @param {string} name */
export function headingOf(name) {
  const heading = document.createElement("h2");
  heading.textContent = name;
  return heading;
}

/**
 * Put `text` into `element` with every hit of `query` marked.
 * @param {HTMLElement} element
 * @param {string} text
 * @param {string} query
 */
export function mark(element, text, query) {
  element.replaceChildren();
  const pattern = query === "" ? null : new RegExp(query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
  let from = 0;
  for (const { 0: found, index } of pattern ? text.matchAll(pattern) : []) {
    const hit = document.createElement("mark");
    hit.textContent = found;
    element.append(text.slice(from, index), hit);
    from = index + found.length;
  }
  element.append(text.slice(from));
}

/**
 * Let the title in this row be edited; resolves to the new one, or null when it was left.
 * @param {HTMLElement} row
 * @param {string} title
 * @returns {Promise<string | null>}
 */
export function editTitle(row, title) {
  const link = part(row, "a");
  const field = document.createElement("input");
  field.value = title;
  field.dir = "auto";
  field.maxLength = page.limits.title_chars;
  field.setAttribute("aria-label", translate("title_label"));
  link.hidden = true;
  link.after(field);
  row.classList.add("is-renaming");
  field.select();
  return new Promise((resolve) => {
    let isOver = false;
    const end = (/** @type {boolean} */ isKept, /** @type {boolean} */ isFocusKept) => {
      if (isOver) return;
      isOver = true;
      field.remove();
      link.hidden = false;
      row.classList.remove("is-renaming");
      if (isFocusKept) link.focus();
      resolve(isKept ? field.value.trim() : null);
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      end(event.key === "Enter", true);
    });
    field.addEventListener("blur", () => end(true, false));
  });
}
