// Keeps an Enter that is pressed before the chat's modules are there; main.js sends it then.
// A plain script in the head: it is there before the field is.

{
  /** @type {{ text: string | null, stop: () => void }} what was to be sent, once there is something */
  const early = { text: null, stop };

  const keep = (/** @type {Event} */ event) => {
    const field = document.getElementById("text");
    if (!(field instanceof HTMLTextAreaElement)) return;
    event.preventDefault();
    if (field.value.trim()) early.text = field.value;
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    const isConfirming = event.isComposing || event.keyCode === 229;
    const isInField = event.target instanceof HTMLElement && event.target.id === "text";
    const breaksLines = matchMedia("(pointer: coarse)").matches;
    if (event.key === "Enter" && !event.shiftKey && !isConfirming && isInField && !breaksLines) keep(event);
  };

  document.addEventListener("keydown", pressed);
  document.addEventListener("submit", keep);
  Object.assign(window, { earlyEnter: early });

  function stop() {
    document.removeEventListener("keydown", pressed);
    document.removeEventListener("submit", keep);
  }
}
