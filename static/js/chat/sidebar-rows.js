// What the list of conversations is made of: groups by day, marked hits, titles that are edited.

import { part } from "../dom.js";
import { translate } from "./i18n.js";
import { page } from "./page.js";

const month = new Intl.DateTimeFormat(document.documentElement.lang, { month: "long", year: "numeric" });

/**
 * The heading that a conversation of that time stands under.
 * @param {string} iso
 */
export function groupOf(iso) {
  const date = new Date(iso);
  if (date >= daysAgo(0)) return translate("today");
  if (date >= daysAgo(1)) return translate("yesterday");
  if (date >= daysAgo(7)) return translate("last_week");
  return month.format(date);
}

/**
 * Midnight so many days ago by the calendar: a day may have 23 or 25 hours.
 * @param {number} days
 */
function daysAgo(days) {
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  midnight.setDate(midnight.getDate() - days);
  return midnight;
}

/**
 * Put `text` into `element` with its hits marked.
 * @param {HTMLElement} element
 * @param {string} text
 * @param {import("./types.js").Marks} marks
 */
export function mark(element, text, marks = []) {
  element.replaceChildren();
  let from = 0;
  for (const [start, end] of marks) {
    const hit = document.createElement("mark");
    hit.textContent = text.slice(start, end);
    element.append(text.slice(from, start), hit);
    from = end;
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
