// The history table: renaming in place, choosing many. What is deleted can be brought back.

import { byId, part } from "./dom.js";

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
  const everything = bar.querySelector("[data-all]");
  if (!(everything instanceof HTMLElement)) return;
  const box = part(everything, "input", HTMLInputElement);
  everything.hidden = !all.checked;
  if (!all.checked) box.checked = false;
  if (box.checked) part(bar, "[data-count]").textContent = "";
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
