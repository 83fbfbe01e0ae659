// The page's keys. The dialog that lists them is in the template, beside their labels.

import { byId } from "../dom.js";

const dialog = byId("keys", HTMLDialogElement);

/**
 * Call `escape` for Esc, and for Alt and a key the action of that key's name.
 * @param {(event: KeyboardEvent) => void} escape
 * @param {Record<string, () => void>} actions
 */
export function listenToShortcuts(escape, actions) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229 || event.defaultPrevented) return; // 229: an IME's, in Safari
    if (event.key === "Escape" && !dialog.open) {
      escape(event);
      return;
    }
    if (!event.altKey || event.ctrlKey || event.metaKey || dialog.open) return;
    const action = actions[event.code];
    if (!action) return;
    event.preventDefault();
    action();
  });
  byId("show-keys").addEventListener("click", showShortcuts);
}

export function showShortcuts() {
  dialog.showModal();
}
