// The page of one's API keys: copies the secret that is shown once.

import { copyText } from "./chat/browser.js";
import { part } from "./dom.js";

const button = document.getElementById("copy-secret");
button?.addEventListener("click", async () => {
  const field = part(document, "#secret", HTMLInputElement);
  field.select();
  await copyText(field.value);
  button.textContent = button.dataset.done ?? "";
});
