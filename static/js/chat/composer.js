// Where one writes. A draft survives a reload, a refusal and signing out.

const DRAFT = "draft:";

export class Composer {
  #form = document.getElementById("composer");
  #text = document.getElementById("text");
  #model = document.getElementById("model");
  #preset = document.getElementById("preset");
  #send = document.getElementById("send");
  #stop = document.getElementById("stop");
  #note = document.getElementById("note");
  #conversation = null;
  #editing = null;

  /** `on` has submit(text, editing), stop() and editLast(). */
  constructor(on) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#text.value;
      if (text.trim()) on.submit(text, this.#editing);
    });
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#form.requestSubmit();
      } else if (event.key === "ArrowUp" && !this.#text.value) {
        event.preventDefault();
        on.editLast();
      }
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      if (this.#editing) this.cancelEdit();
      else if (!this.#stop.hidden) on.stop();
    });
    this.#stop.addEventListener("click", () => on.stop());
    this.#changed();
  }

  get choice() {
    return { model: this.#model.value, preset: this.#preset.value };
  }

  choose({ model, preset }) {
    if (model && this.#model.querySelector(`option[value="${CSS.escape(model)}"]`)) this.#model.value = model;
    if (preset && this.#preset.querySelector(`option[value="${CSS.escape(preset)}"]`)) this.#preset.value = preset;
  }

  /** Switch to a conversation's own draft (null: the new chat's). */
  open(conversation) {
    this.#conversation = conversation;
    this.#editing = null;
    this.#text.value = localStorage.getItem(this.#key) ?? "";
    this.note("");
    this.#changed();
    this.focus();
  }

  focus() {
    if (matchMedia("(hover: hover)").matches) this.#text.focus();
  }

  /** Take a refused text back, unless something new was written meanwhile. */
  giveBack(text) {
    if (!this.#text.value) this.#text.value = text;
    this.#changed();
  }

  clear() {
    this.#text.value = "";
    this.#editing = null;
    this.#changed();
  }

  edit(message) {
    this.#editing = message;
    this.#text.value = message.text;
    this.#changed();
    this.#form.classList.add("editing");
    this.#text.focus();
  }

  cancelEdit() {
    this.#editing = null;
    this.#form.classList.remove("editing");
    this.#text.value = localStorage.getItem(this.#key) ?? "";
    this.#changed();
  }

  note(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
  }

  setWriting(isWriting) {
    this.#stop.hidden = !isWriting;
    this.#send.hidden = isWriting;
  }

  get #key() {
    return DRAFT + (this.#conversation ?? "new");
  }

  #changed() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    this.#send.disabled = !this.#text.value.trim();
    this.#form.classList.toggle("editing", Boolean(this.#editing));
    if (this.#editing) return;
    if (this.#text.value) localStorage.setItem(this.#key, this.#text.value);
    else localStorage.removeItem(this.#key);
  }
}
