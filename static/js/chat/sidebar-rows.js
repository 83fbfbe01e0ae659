// The rows of the list of conversations: headings by day, conversations with marked hits and their
// state, titles that are edited. What they do is in sidebar.js.

import { copyOfTemplate, part } from "../dom.js";
import { translate } from "./i18n.js";
import { page } from "./page.js";

/** @typedef {import("./types.js").SidebarItem} SidebarItem */

/** @typedef {{ key: string, kind: "group" | "conversation" | "conversation found", name: string, item?: SidebarItem }} Entry */

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

/** @param {HTMLElement} element */
export const isRow = (element) => element.classList.contains("conversation");

/** @param {HTMLElement} row */
export const idOf = (row) => row.dataset.id ?? "";

/**
 * The element of a row or a heading: the one that it has, brought up to date, or a new one.
 * @param {Entry} entry
 * @param {HTMLElement | undefined} element
 * @param {{ current: string | null }} options the conversation that is open
 */
export function elementOf({ key, kind, name, item }, element, { current }) {
  if (!item) {
    const heading = element ?? document.createElement("h2");
    heading.className = "group";
    heading.textContent = name;
    return heading;
  }
  let row = element;
  if (!row) {
    row = copyOfTemplate("conversation-template");
    row.dataset.id = key;
    part(row, "a", HTMLAnchorElement).href = `/c/${key}/`;
  }
  row.classList.toggle("found", kind === "conversation found");
  mark(part(row, ".name"), name, item.title ? item.title_marks : []);
  part(row, "a").title = name;
  for (const action of ["rename", "delete"]) {
    part(row, `[data-do=${action}]`).setAttribute("aria-label", translate(`${action}_this`, { title: name }));
  }
  const snippet = part(row, ".snippet");
  snippet.hidden = kind !== "conversation found";
  mark(snippet, item.snippet ?? "", item.snippet_marks);
  showState(row, item, { current });
  return row;
}

/**
 * Show whether the row's conversation is open, being written, or has news.
 * @param {HTMLElement} row
 * @param {SidebarItem | undefined} item
 * @param {{ current: string | null }} options the conversation that is open
 */
export function showState(row, item, { current }) {
  const link = part(row, "a");
  if (item?.id === current) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
  const sign = part(row, ".sign");
  sign.hidden = !(item?.is_writing || item?.has_news);
  if (!item || sign.hidden) return;
  sign.classList.toggle("is-writing", item.is_writing);
  sign.title = translate(item.is_writing ? "sign_writing" : "sign_news");
  part(sign, "span").textContent = sign.title;
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
