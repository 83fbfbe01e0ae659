// The page's keys. The dialog that lists them is in the template, beside their labels.

const dialog = document.getElementById("keys");

/** Call `actions[name]` for Alt and the key of that name, and `escape` for Esc. */
export function listenToShortcuts({ escape, ...actions }) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented) return;
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
  document.getElementById("show-keys").addEventListener("click", showShortcuts);
}

export function showShortcuts() {
  dialog.showModal();
}
