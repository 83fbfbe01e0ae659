// The history table: renaming in place, choosing many, asking before anything is deleted.

for (const form of document.querySelectorAll("form[data-confirm-one]")) {
  form.addEventListener("submit", (event) => {
    const many = form.id === "chosen" && chosen().length > 1;
    if (!confirm(many ? form.dataset.confirmMany : form.dataset.confirmOne)) event.preventDefault();
  });
}

for (const button of document.querySelectorAll("[data-rename]")) {
  const row = button.closest("tr");
  const form = row.querySelector("form.rename");
  const link = row.querySelector(".title > a");
  const show = (isRenaming) => {
    form.hidden = !isRenaming;
    link.hidden = isRenaming;
    if (isRenaming) form.elements.title.select();
    else button.focus();
  };
  button.addEventListener("click", () => show(form.hidden));
  form.querySelector("[data-cancel]").addEventListener("click", () => show(false));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(false);
  });
}

const all = document.getElementById("choose-all");
const bar = document.getElementById("chosen");

function chosen() {
  return [...document.querySelectorAll('input[name="conversation"][form="chosen"]:checked')];
}

function count() {
  const boxes = document.querySelectorAll('input[name="conversation"][form="chosen"]');
  const number = chosen().length;
  bar.dataset.any = number > 0;
  bar.querySelector("[data-count]").textContent = number ? `${number}` : "";
  all.checked = number > 0 && number === boxes.length;
  all.indeterminate = number > 0 && number < boxes.length;
}

if (bar) {
  all.addEventListener("change", () => {
    for (const box of document.querySelectorAll('input[name="conversation"][form="chosen"]')) {
      box.checked = all.checked;
    }
    count();
  });
  document.addEventListener("change", count);
  count();
}
