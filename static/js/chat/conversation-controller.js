// The conversation that is open on the page: fetched, drawn, and in step with the address.

import { byId } from "../dom.js";
import { Conversation } from "./conversation.js";
import { get, HttpError } from "./http.js";
import { translate } from "./i18n.js";
import { page } from "./page.js";

/**
 * @typedef {object} Parts
 * @property {import("./thread.js").Thread} thread
 * @property {import("./scroll-follower.js").ScrollFollower} scroll
 * @property {import("./composer.js").Composer} composer
 * @property {import("./sidebar.js").Sidebar} sidebar
 * @property {import("./unfinished-answers.js").UnfinishedAnswers} answers
 * @property {import("./hit.js").Hit} hit
 */

export class ConversationController {
  conversation = new Conversation();
  /** @type {Promise<void>} */
  #opening = Promise.resolve();
  #title = byId("title");
  #welcome = byId("welcome");
  #parts;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  get id() {
    return this.conversation.id;
  }

  /** Resolves when the conversation's messages are there. */
  get isReady() {
    return this.#opening;
  }

  /**
   * Open a conversation, or with null a new one. `isNew`: as a new entry of the history.
   * @param {string | null} id
   */
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

  /**
   * The address leads to another conversation.
   * @param {string} path
   */
  follow(path) {
    this.open(/^\/c\/([0-9a-f-]{36})\/$/.exec(path)?.[1] ?? null, false);
  }

  /** Ask the site again what the conversation looks like. */
  refresh() {
    if (this.id) this.#fetch(this.id, false);
  }

  /**
   * The new chat has been stored as this conversation.
   * @param {string} id
   */
  becomes(id) {
    this.conversation.id = id;
    history.replaceState(null, "", pathOf(id));
    this.#parts.sidebar.setCurrent(id);
    this.#parts.composer.becomes(id);
  }

  /**
   * Show a message that has changed; one that isn't of this conversation is none of ours.
   * @param {import("./types.js").Message} message
   */
  update(message) {
    if (!this.conversation.get(message.id)) return;
    this.conversation.put(message);
    this.draw();
  }

  /**
   * The text of a question that the site will not have goes back to where it was written.
   * @param {import("./types.js").Ask | undefined} frame
   */
  takeBack(frame) {
    if (!frame) return;
    if (frame.type === "send") this.#parts.composer.giveBack(frame.conversation, frame.text);
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
    const model = page.models.find(({ slug }) => slug === composer.choice.model);
    composer.showContext(this.conversation.contextUsed(), model?.context_length ?? null);
  }

  /**
   * Whether the page follows a later request of this message than the one that was fetched.
   * @param {import("./types.js").Message} fetched
   */
  #isAhead(fetched) {
    const { request = null } = this.conversation.get(fetched.id) ?? {};
    return request !== fetched.request && this.#parts.answers.get(request) !== undefined;
  }

  async #showNew() {
    this.#parts.answers.showAsked(this.conversation);
    this.draw();
  }

  /**
   * Show a conversation as the site has it; not `isFresh`: bring the shown one up to date.
   * @param {string} id
   * @param {boolean} isFresh
   */
  async #fetch(id, isFresh) {
    const { answers, composer, scroll } = this.#parts;
    try {
      const { conversation: view, messages } = await get(`/conversations/${id}/`);
      if (this.id !== id) return;
      if (isFresh) {
        const early = this.conversation.messages; // came over the socket meanwhile
        this.conversation = new Conversation(view, messages);
        for (const message of early) this.conversation.get(message.id) ?? this.conversation.put(message);
        composer.choose(view);
      } else {
        this.conversation.view = view;
        for (const message of messages) if (!this.#isAhead(message)) this.conversation.put(message);
      }
      answers.showAsked(this.conversation);
      for (const message of messages) answers.follow(message);
      this.draw();
      if (isFresh && !this.#parts.hit.show(this)) scroll.jump();
    } catch (error) {
      if (error instanceof HttpError && error.status === 404 && this.id === id) location.replace("/");
      else if (isFresh) composer.note(translate("load_failed"));
    }
  }
}

const pathOf = (/** @type {string | null} */ id) => (id ? `/c/${id}/` : "/");
