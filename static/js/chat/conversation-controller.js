// The conversation that is open on the page: fetched, drawn, and in step with the address.

import { Conversation } from "./conversation.js";
import { get } from "./http.js";
import { translate } from "./i18n.js";

export class ConversationController {
  conversation = new Conversation();
  #opening = Promise.resolve();
  #title = document.getElementById("title");
  #welcome = document.getElementById("welcome");
  #parts;
  #models;

  /** `parts` are the page's thread, follow, composer, sidebar, answers and questions. */
  constructor({ models, ...parts }) {
    this.#models = models;
    this.#parts = parts;
  }

  get id() {
    return this.conversation.id;
  }

  /** Resolves when the conversation's messages are there. */
  get isReady() {
    return this.#opening;
  }

  /** Open a conversation, or with null a new one. `isNew`: as a new entry of the history. */
  open(id, isNew = true) {
    const { answers, composer, sidebar } = this.#parts;
    if (isNew && location.pathname !== pathOf(id)) history.pushState(null, "", pathOf(id));
    answers.leave();
    this.conversation = new Conversation();
    this.conversation.id = id;
    composer.open(id);
    sidebar.setCurrent(id);
    this.#opening = id ? this.#fetch(id, true) : this.#showNew();
  }

  /** The address leads to another conversation. */
  follow(path) {
    this.open(/^\/c\/([0-9a-f-]{36})\/$/.exec(path)?.[1] ?? null, false);
  }

  /** Ask the site again what the conversation looks like. */
  refresh() {
    if (this.id) this.#fetch(this.id, false);
  }

  /** The new chat has been stored as this conversation. */
  becomes(id) {
    this.conversation.id = id;
    history.replaceState(null, "", pathOf(id));
    this.#parts.sidebar.setCurrent(id);
    this.#parts.composer.becomes(id);
  }

  /** Show a message that has changed; one that isn't of this conversation is none of ours. */
  update(message) {
    if (!this.conversation.get(message.id)) return;
    this.conversation.put(message);
    this.draw();
  }

  draw() {
    const { thread, answers, composer } = this.#parts;
    const title = this.conversation.view?.title || translate("new_chat");
    this.#title.textContent = title;
    document.title = `${title} · chatsite`;
    thread.show(this.conversation, answers);
    this.#welcome.hidden = Boolean(this.id) || this.conversation.branch().length > 0;
    composer.setWriting(Boolean(this.conversation.unfinished()));
    this.showContext();
  }

  showContext() {
    const { composer } = this.#parts;
    const model = this.#models.find((m) => m.slug === composer.choice.model);
    composer.showContext(this.conversation.contextUsed(), model?.context_length);
  }

  async #showNew() {
    this.#parts.questions.showWaiting(this.conversation);
    this.draw();
  }

  /** Show a conversation as the site has it; not `isFresh`: bring the shown one up to date. */
  async #fetch(id, isFresh) {
    const { answers, composer, follow, questions } = this.#parts;
    try {
      const { conversation, messages } = await get(`/conversations/${id}/`);
      if (this.id !== id) return;
      if (isFresh) {
        this.conversation = new Conversation(conversation, messages);
        composer.choose(conversation);
        questions.showWaiting(this.conversation);
      } else {
        this.conversation.view = conversation;
        for (const message of messages) this.conversation.put(message);
      }
      for (const message of messages) answers.follow(message);
      this.draw();
      if (isFresh) follow.jump();
    } catch (error) {
      if (error.status === 404 && this.id === id) location.replace("/");
      else if (isFresh) composer.note(translate("load_failed"));
    }
  }
}

const pathOf = (id) => (id ? `/c/${id}/` : "/");
