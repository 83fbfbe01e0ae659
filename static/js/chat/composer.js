// Where one writes. A draft survives a reload, a refusal and signing out.

import { figureFormat } from "../figure-format.js";
import { byId, part } from "../dom.js";
import { codePointsOf } from "./browser.js";
import { translate } from "./i18n.js";

/** @typedef {import("./types.js").Message} Message */

/**
 * @typedef {object} Actions
 * @property {(text: string, editing: Message | null) => void} submit
 * @property {() => void} stop
 * @property {() => void} editLast
 */

export class Composer {
  #form = byId("composer", HTMLFormElement);
  #text = byId("text", HTMLTextAreaElement);
  #model = byId("model", HTMLSelectElement);
  #preset = byId("preset", HTMLSelectElement);
  #send = byId("send", HTMLButtonElement);
  #stop = byId("stop");
  #note = byId("note");
  #editingNote = byId("editing");
  #context = byId("context");
  #hint = byId("hint");
  #person;
  #maxChars;
  /** @type {string | null} */
  #conversation = null;
  /** @type {Message | null} the question that another version is being written of */
  #editing = null;
  #isOpen = false;

  /**
   * Drafts are `person`'s own.
   * @param {{ person: string, maxChars: number, on: Actions }} options
   */
  constructor({ person, maxChars, on }) {
    this.#person = person;
    this.#maxChars = maxChars;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(on);
    });
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#submit(on);
      } else if (event.key === "ArrowUp" && !this.#text.value) {
        event.preventDefault();
        on.editLast();
      }
    });
    this.#stop.addEventListener("click", () => on.stop());
    byId("cancel-edit").addEventListener("click", () => this.cancelEdit());
  }

  get choice() {
    return { model: this.#model.value, preset: this.#preset.value };
  }

  get isEditing() {
    return this.#editing !== null;
  }

  /** @param {import("./types.js").Choice} choice */
  choose({ model, preset }) {
    const choose = (/** @type {HTMLSelectElement} */ select, /** @type {string} */ slug) => {
      if ([...select.options].some((option) => option.value === slug)) select.value = slug;
    };
    choose(this.#model, model);
    choose(this.#preset, preset);
  }

  /**
   * Switch to a conversation's own draft (null: the new chat's).
   * @param {string | null} conversation
   */
  open(conversation) {
    const early = this.#isOpen ? "" : this.#text.value; // written before this script was there
    this.#isOpen = true;
    this.#conversation = conversation;
    this.#editing = null;
    this.#text.value = this.#draft(conversation) || early;
    this.note("");
    this.#changed();
    this.focus();
  }

  /**
   * A new chat has become this conversation: what is being written stays.
   * @param {string} conversation
   */
  becomes(conversation) {
    const text = this.#text.value;
    this.#keep(this.#conversation, "");
    this.#conversation = conversation;
    this.#text.value = text;
    this.#changed();
  }

  focus() {
    if (matchMedia("(hover: hover)").matches) this.#text.focus();
  }

  /**
   * Take a text back into that conversation's draft, before what was written meanwhile.
   * @param {string | null} conversation
   * @param {string} text
   */
  giveBack(conversation, text) {
    if (conversation !== this.#conversation) {
      this.#keep(conversation, joined(text, this.#draft(conversation)));
      return;
    }
    this.#text.value = joined(text, this.#text.value);
    this.#changed();
  }

  clear() {
    this.#editing = null;
    this.#text.value = "";
    this.#changed();
  }

  /** @param {Message} message */
  edit(message) {
    this.#editing = message;
    this.#text.value = message.text;
    this.#changed();
    this.#text.focus();
    this.#text.setSelectionRange(message.text.length, message.text.length);
  }

  cancelEdit() {
    this.#editing = null;
    this.#text.value = this.#draft(this.#conversation);
    this.#changed();
    this.focus();
  }

  /** @param {string} text */
  note(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
  }

  /** @param {boolean} isWriting */
  setWriting(isWriting) {
    if (!isWriting && !this.#stop.hidden) this.note("");
    this.#stop.hidden = !isWriting;
    this.#send.hidden = isWriting;
  }

  /**
   * How much of the model's context the conversation fills; null: not known.
   * @param {number | null} used
   * @param {number | null} length
   */
  showContext(used, length) {
    this.#context.hidden = !(used && length);
    this.#hint.hidden = !this.#context.hidden;
    if (!(used && length)) return;
    const share = Math.min(100, Math.round((100 * used) / length));
    part(this.#context, ".used span").style.width = `${share}%`;
    this.#context.classList.toggle("nearly-full", share >= 75 && share < 90);
    this.#context.classList.toggle("full", share >= 90);
    part(this.#context, ".words").textContent = translate("context", { share: figureFormat.count(share) });
    this.#context.title = translate("context_title", { used: figureFormat.count(used), length: figureFormat.count(length) });
  }

  /** @param {Actions} on */
  #submit(on) {
    const text = this.#text.value;
    if (!text.trim()) return;
    const length = text.length > this.#maxChars ? codePointsOf(text) : text.length;
    if (length > this.#maxChars) {
      this.note(translate("too_long", { limit: figureFormat.count(this.#maxChars), length: figureFormat.count(length) }));
    } else {
      on.submit(text, this.#editing);
    }
  }

  #changed() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    this.#send.disabled = !this.#text.value.trim();
    this.#form.classList.toggle("is-editing", this.isEditing);
    this.#editingNote.hidden = !this.isEditing;
    if (!this.isEditing) this.#keep(this.#conversation, this.#text.value);
  }

  /** @param {string | null} conversation */
  #key(conversation) {
    return `draft:${this.#person}:${conversation ?? "new"}`;
  }

  /** @param {string | null} conversation */
  #draft(conversation) {
    return localStorage.getItem(this.#key(conversation)) ?? "";
  }

  /**
   * @param {string | null} conversation
   * @param {string} text
   */
  #keep(conversation, text) {
    try {
      if (text) localStorage.setItem(this.#key(conversation), text);
      else localStorage.removeItem(this.#key(conversation));
    } catch {
      // Storage is full or forbidden: the draft lives as long as the page.
    }
  }
}

const joined = (/** @type {string[]} */ ...texts) => texts.filter(Boolean).join("\n\n");
