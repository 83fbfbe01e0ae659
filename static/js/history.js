// The history table: renaming in place, choosing many, asking before anything is deleted.

import { byId, part } from "./dom.js";

/** @type {NodeListOf<HTMLFormElement>} */
const asking = document.querySelectorAll("form[data-confirm-one]");
for (const form of asking) {
  form.addEventListener("submit", (event) => {
    const many = form.id === "chosen" && chosen().length > 1;
    if (!confirm(many ? form.dataset.confirmMany : form.dataset.confirmOne)) event.preventDefault();
  });
}

/** @type {NodeListOf<HTMLElement>} */
const renaming = document.querySelectorAll("tr:has([data-rename])");
for (const row of renaming) {
  const button = part(row, "[data-rename]");
  const form = part(row, "form.rename");
  const link = part(row, ".title > a");
  const show = (/** @type {boolean} */ isRenaming) => {
    form.hidden = !isRenaming;
    link.hidden = isRenaming;
    if (isRenaming) part(form, "[name=title]", HTMLInputElement).select();
    else button.focus();
  };
  button.addEventListener("click", () => show(form.hidden === true));
  part(form, "[data-cancel]").addEventListener("click", () => show(false));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(false);
  });
}

/** @returns {NodeListOf<HTMLInputElement>} */
const checkboxes = () => document.querySelectorAll('input[name="conversation"][form="chosen"]');
const boxes = () => [...checkboxes()];
const chosen = () => boxes().filter((box) => box.checked);

/**
 * @param {HTMLElement} bar what can be done with those that are chosen
 * @param {HTMLInputElement} all
 */
function count(bar, all) {
  const number = chosen().length;
  bar.dataset.any = String(number > 0);
  part(bar, "[data-count]").textContent = number ? `${number}` : "";
  all.checked = number > 0 && number === boxes().length;
  all.indeterminate = number > 0 && number < boxes().length;
}

if (document.getElementById("chosen")) {
  const bar = byId("chosen");
  const all = byId("choose-all", HTMLInputElement);
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    count(bar, all);
  });
  document.addEventListener("change", () => count(bar, all));
  count(bar, all);
}
