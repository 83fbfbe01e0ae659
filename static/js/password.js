// Forms with passwords: shows them on request, and says while one types whether they will do.

const MIN_CHARS = 8;
const fields = /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll("input[type=password]")]);
const toggle = document.getElementById("show-password");

if (toggle instanceof HTMLInputElement && toggle.parentElement) {
  toggle.parentElement.hidden = false;
  toggle.addEventListener("change", () => fields.forEach((field) => (field.type = toggle.checked ? "text" : "password")));
}

const first = fields.find(({ name }) => name.endsWith("password1"));
const second = fields.find(({ name }) => name.endsWith("password2"));
if (first && second) {
  for (const field of [first, second]) {
    const hint = hintOf(field);
    if (hint) hint.dataset.first = hint.textContent ?? "";
    field.addEventListener("input", check);
  }
}

function check() {
  if (!first || !second) return;
  const [long, same] = [hintOf(first), hintOf(second)];
  const isEnough = first.value.length >= MIN_CHARS;
  say(long, isEnough, isEnough ? long?.dataset.enough : long?.dataset.first);
  const isSame = first.value === second.value;
  if (second.value) say(same, isSame, isSame ? same?.dataset.same : same?.dataset.other);
  else say(same, false, same?.dataset.first);
}

/**
 * @param {HTMLElement | null} hint
 * @param {boolean} isGood
 * @param {string | undefined} words
 */
function say(hint, isGood, words = "") {
  if (!hint) return;
  hint.textContent = words;
  hint.classList.toggle("good", isGood);
}

/** @param {HTMLInputElement} field */
function hintOf(field) {
  return document.getElementById(`${field.id}_helptext`);
}
