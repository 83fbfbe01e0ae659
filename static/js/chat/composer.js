// Where one writes. What is written survives a reload, a refusal and signing out (drafts.js).

import { figureFormat } from "../figure-format.js";
import { byId, part } from "../dom.js";
import { codePointsOf } from "./browser.js";
import { translate } from "./i18n.js";
import { page } from "./page.js";

/** @typedef {{ id: string, parent: string | null, text?: string }} Edited a question that another version is written of; `text`: what it says, if known */
/** @typedef {import("./drafts.js").Scope} Scope */

/**
 * @typedef {object} Actions
 * @property {() => void} submit
 * @property {() => void} stop
 * @property {() => void} editLast
 * @property {(message: string | null) => void} edits called with the question that is being edited
 */

const usual = {
  model: (page.models.find((model) => model.is_default) ?? page.models[0])?.slug ?? "",
  preset: (page.presets.find((preset) => preset.is_default) ?? page.presets[0])?.slug ?? "",
};
const usualPreset = (/** @type {string} */ model) => page.models.find(({ slug }) => slug === model)?.default_preset ?? usual.preset;
const labelOf = (/** @type {HTMLSelectElement} */ select) => select.selectedOptions[0]?.textContent ?? "";
const isCoarse = matchMedia("(pointer: coarse)");
const IME_KEYCODE = 229; // Safari says it of the Enter that confirms, after the composition's end

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
  #drafts;
  #maxChars;
  #on;
  /** @type {string | null} */
  #conversation = null;
  /** @type {Edited | null} */
  #editing = null;
  #early = this.#text.value; // written before this script was there
  #isHeld = false;
  #choiceKey = `choice:${page.user.name}`;
  /** @type {Map<string | null, string>} what to say when those conversations are open again */
  #refusals = new Map();

  /** @param {{ drafts: import("./drafts.js").Drafts, maxChars: number, on: Actions }} options */
  constructor({ drafts, maxChars, on }) {
    this.#drafts = drafts;
    this.#maxChars = maxChars;
    this.#on = on;
    if (isCoarse.matches) this.#text.enterKeyHint = "enter";
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => {
      this.note("");
      this.#changed();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === IME_KEYCODE) return;
      const sends = event.ctrlKey || event.metaKey || !(event.shiftKey || isCoarse.matches); // no Shift on a phone
      if (event.key === "Enter" && sends) {
        event.preventDefault();
        this.#submit();
      } else if (event.key === "ArrowUp" && !this.#text.value) {
        event.preventDefault();
        on.editLast();
      }
    });
    for (const select of [this.#model, this.#preset]) {
      select.addEventListener("change", () => localStorage.setItem(this.#choiceKey, JSON.stringify(this.choice)));
    }
    this.#stop.addEventListener("click", () => on.stop());
    byId("cancel-edit").addEventListener("click", () => this.cancelEdit());
  }

  get choice() {
    return { model: this.#model.value, preset: this.#preset.value };
  }

  get text() {
    return this.#text.value;
  }

  /** The question that another version is written of. */
  get editing() {
    return this.#editing;
  }

  get isEditing() {
    return this.#editing !== null;
  }

  /**
   * Choose what a conversation was held with. What is gone is said, and the site's default taken.
   * @param {import("./types.js").Choice} choice
   */
  choose({ model, preset }) {
    this.#model.value = model || usual.model;
    this.#preset.value = preset || usualPreset(this.#model.value);
    const gone = [];
    if (!this.#model.value) {
      this.#model.value = usual.model;
      if (this.#model.value) gone.push(translate("model_gone", { name: model, other: labelOf(this.#model) }));
    }
    if (!this.#preset.value) {
      this.#preset.value = usualPreset(this.#model.value);
      if (this.#preset.value) gone.push(translate("preset_gone", { name: preset, other: labelOf(this.#preset) }));
    }
    if (gone.length) this.note(gone.join(" "));
  }

  /** Choose for a new chat: what this person chose last, or the site's default. */
  chooseUsual() {
    const { model, preset } = JSON.parse(localStorage.getItem(this.#choiceKey) ?? "{}");
    const isThere = (/** @type {{ slug: string }[]} */ all, /** @type {string} */ slug) => all.some((one) => one.slug === slug);
    this.#model.value = isThere(page.models, model) ? model : usual.model;
    this.#preset.value = isThere(page.presets, preset) ? preset : usualPreset(this.#model.value);
  }

  /**
   * Switch to what is being written in a conversation (null: the new chat).
   * @param {string | null} conversation
   */
  open(conversation) {
    const early = this.#early;
    this.#early = "";
    this.hold(false);
    this.#conversation = conversation;
    this.#enter(this.#drafts.openEdit(conversation));
    this.note(this.#refusals.get(conversation) ?? "");
    this.#refusals.delete(conversation);
    if (early) this.#set(joined(this.#text.value, early));
    this.focus();
    if (!this.#text.value) this.#adopt(conversation);
  }

  /**
   * A new chat has become this conversation: what is being written stays.
   * @param {string} conversation
   */
  becomes(conversation) {
    this.#drafts.move(this.#conversation, conversation);
    this.#conversation = conversation;
    this.#drafts.show(this.#scope());
    this.#changed();
  }

  /** The open conversation is no more: what is being written goes on in a new chat. */
  becomesNew() {
    const text = joined(this.#drafts.get(this.#scope(null))?.text ?? "", this.#editing ? this.#text.value : "");
    this.#drafts.remove(this.#scope(null));
    if (this.#editing) this.#drafts.remove(this.#scope());
    if (text) this.giveBack(null, text);
  }

  focus() {
    if (matchMedia("(hover: hover)").matches) this.#text.focus();
  }

  /**
   * Take a text back to where it was written, before what was written there meanwhile.
   * @param {string | null} conversation
   * @param {string} text
   * @param {Edited | null} editing
   */
  giveBack(conversation, text, editing = null) {
    const scope = { conversation, message: editing?.id ?? null };
    const isHere = conversation === this.#conversation;
    if (isHere && !this.#text.value && !this.#editing && editing) this.#enter(editing);
    if (isHere && scope.message === this.#scope().message) {
      this.#set(joined(text, this.#text.value));
    } else {
      const kept = joined(text, this.#drafts.get(scope)?.text ?? "");
      this.#drafts.put(scope, { text: kept, parent: editing?.parent });
    }
  }

  /** What was written is with the outbox now. */
  sent() {
    this.#drafts.remove(this.#scope());
    this.#enter(null);
  }

  /**
   * Let nothing be changed or sent: a text waits for its conversation.
   * @param {boolean} isHeld
   */
  hold(isHeld) {
    this.#isHeld = isHeld;
    this.#text.readOnly = isHeld;
  }

  /** @param {Edited} message */
  edit({ id, parent, text = "" }) {
    this.note("");
    const isKept = this.#drafts.get(this.#scope(id)) !== null;
    this.#enter({ id, parent, text });
    if (!isKept) this.#adoptVersion(id, text);
    this.#text.focus();
    this.#text.setSelectionRange(this.#text.value.length, this.#text.value.length);
  }

  /** Go back to the new question. The version is there when one edits that question again. */
  cancelEdit() {
    const { text } = this.#editing ?? {};
    if (this.#text.value === text) this.#drafts.remove(this.#scope());
    else this.#drafts.put(this.#scope(), { text: this.#text.value, isOpen: false, parent: this.#editing?.parent });
    this.#enter(null);
    this.focus();
  }

  /** @param {string} text */
  note(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
  }

  /**
   * Say something that concerns that conversation: now, or when it is opened.
   * @param {string | null} conversation
   * @param {string} text
   */
  noteIn(conversation, text) {
    if (conversation === this.#conversation) this.note(text);
    else this.#refusals.set(conversation, text);
  }

  /** @param {boolean} isWriting */
  setWriting(isWriting) {
    if (!isWriting && !this.#stop.hidden) this.note("");
    document.body.classList.toggle("writing", isWriting);
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

  #submit() {
    const text = this.#text.value;
    if (!text.trim() || this.#isHeld) return;
    const length = text.length > this.#maxChars ? codePointsOf(text) : text.length;
    if (length > this.#maxChars) {
      this.note(translate("too_long", { limit: figureFormat.count(this.#maxChars), length: figureFormat.count(length) }));
    } else {
      this.#on.submit();
    }
  }

  /**
   * Show what is written as another version of that question, or as a new one.
   * @param {Edited | null} editing
   */
  #enter(editing) {
    this.#editing = editing;
    this.#drafts.show(this.#scope());
    this.#text.value = this.#drafts.get(this.#scope())?.text ?? editing?.text ?? "";
    this.#changed();
    this.#on.edits(editing?.id ?? null);
  }

  /**
   * Go on with a version that another window left, unless one has begun to write here.
   * @param {string} id
   * @param {string} text
   */
  async #adoptVersion(id, text) {
    const isUntouched = () => this.#editing?.id === id && this.#text.value === text;
    this.#drafts.remove(this.#scope());
    const adopted = await this.#drafts.adopt(this.#conversation, id);
    if (adopted && isUntouched()) this.#set(adopted.draft.text);
  }

  /** @param {string | null} conversation */
  async #adopt(conversation) {
    const adopted = await this.#drafts.adopt(conversation);
    if (!adopted || this.#conversation !== conversation || this.#text.value || this.#editing) return;
    const { scope, draft } = adopted;
    this.#enter(scope.message ? { id: scope.message, parent: draft.parent } : null);
  }

  /** @param {string} text */
  #set(text) {
    this.#text.value = text;
    this.#changed();
  }

  #changed() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    this.#send.disabled = !this.#text.value.trim();
    this.#form.classList.toggle("is-editing", this.isEditing);
    this.#editingNote.hidden = !this.isEditing;
    this.#drafts.put(this.#scope(), { text: this.#text.value, parent: this.#editing?.parent });
  }

  /** @returns {Scope} */
  #scope(message = this.#editing?.id ?? null) {
    return { conversation: this.#conversation, message };
  }
}

const joined = (/** @type {string[]} */ ...texts) => texts.filter(Boolean).join("\n\n");
