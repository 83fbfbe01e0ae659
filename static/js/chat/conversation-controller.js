// The conversation that is open on the page: fetched, drawn, and in step with the address. The end
// of the shown branch comes first; older messages come when the reader comes near.

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

const FIRST_MESSAGES = 60;
const OLDER_MESSAGES = 60;
const RETRY_MS = 3000;

export class ConversationController {
  conversation = new Conversation();
  /** @type {Promise<boolean>} */
  #opening = Promise.resolve(true);
  #isLoaded = true;
  #isFetchingOlder = false;
  #title = byId("title");
  #welcome = byId("welcome");
  #skeleton = byId("skeleton");
  #failure = byId("load-failure");
  #parts;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    byId("retry").addEventListener("click", () => this.refresh());
    addEventListener("online", () => this.#isLoaded || this.refresh());
  }

  get id() {
    return this.conversation.id;
  }

  /** Resolves when the conversation's messages are there, or can't be had: false. */
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
    if (id) this.#load(id);
    else this.#showNew();
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
    if (!this.id) return;
    if (this.#isLoaded) this.#fetch(this.id, false);
    else this.#load(this.id);
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

  /** The open conversation was deleted elsewhere: what is being written goes on in a new chat. */
  lost() {
    const { composer } = this.#parts;
    composer.becomesNew();
    this.open(null);
    composer.note(translate("conversation_gone"));
  }

  /**
   * Show a message that has changed; one that isn't of this conversation is none of ours.
   * @param {import("./types.js").Message} message
   */
  update(message) {
    if (!this.conversation.get(message.id)) return;
    this.conversation.hear(message);
    this.draw();
  }

  /**
   * The text of a question that the site will not have goes back to where it was written.
   * @param {import("./outbox.js").Entry | undefined} entry
   */
  takeBack(entry) {
    if (!entry) return;
    const { frame, editing } = entry;
    if (frame.type === "send") this.#parts.composer.giveBack(frame.conversation, frame.text, editing);
    this.draw();
  }

  draw() {
    const { thread, answers, composer } = this.#parts;
    this.#showTitle(this.conversation.view?.title);
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
   * Fetch the messages up to this one, which the reader is near to.
   * @param {string} leaf
   */
  async fetchOlder(leaf) {
    const { conversation } = this;
    if (this.#isFetchingOlder || !this.#isLoaded) return;
    this.#isFetchingOlder = true;
    const askedAt = performance.now();
    let wait = 0;
    try {
      const { messages } = await get(`/conversations/${conversation.id}/?limit=${OLDER_MESSAGES}&leaf=${leaf}`);
      conversation.take(messages, askedAt);
    } catch {
      wait = RETRY_MS; // they are asked for again when they are drawn
    }
    setTimeout(() => {
      this.#isFetchingOlder = false;
      if (conversation === this.conversation) this.draw();
    }, wait);
  }

  /** @param {string | undefined} title */
  #showTitle(title = "") {
    const known = title || this.#parts.sidebar.titleOf(this.id) || (this.id === page.conversation ? page.title : "");
    this.#title.textContent = known || translate("new_chat");
    document.title = `${this.#title.textContent} · chatsite`;
  }

  /** @param {"loading" | "loaded" | "failed"} state */
  #enter(state) {
    this.#isLoaded = state === "loaded";
    this.#skeleton.hidden = state !== "loading";
    this.#failure.hidden = state !== "failed";
    this.#parts.scroll.setBusy(state === "loading");
  }

  #showNew() {
    this.#opening = Promise.resolve(true);
    this.#enter("loaded");
    this.#parts.answers.showAsked(this.conversation);
    this.#parts.composer.chooseUsual();
    this.draw();
  }

  /** @param {string} id */
  #load(id) {
    this.#enter("loading");
    this.draw();
    this.#opening = this.#fetch(id, true);
  }

  /**
   * Whether the page has asked for more of this message than the site knows yet.
   * @param {import("./types.js").Message} fetched
   */
  #isAhead(fetched) {
    const { request = null } = this.conversation.get(fetched.id) ?? {};
    return request !== fetched.request && this.#parts.answers.get(request) !== undefined;
  }

  /**
   * Show a conversation as the site has it; not `isFresh`: bring the shown one up to date. What the
   * socket has said since the question was asked is newer than the reply.
   * @param {string} id
   * @param {boolean} isFresh
   */
  async #fetch(id, isFresh) {
    const { answers, composer, scroll } = this.#parts;
    const { conversation } = this;
    const askedAt = performance.now();
    try {
      const reply = await get(`/conversations/${id}/?limit=${FIRST_MESSAGES}`);
      if (this.conversation !== conversation) return false;
      const news = { ...reply, messages: reply.messages.filter((/** @type {any} */ m) => !this.#isAhead(m)) };
      conversation.load(news, { askedAt, isFresh });
      if (isFresh) composer.choose(reply.conversation);
      this.#enter("loaded");
      answers.showAsked(conversation);
      for (const message of conversation.messages) answers.follow(message);
      this.draw();
      if (isFresh && !this.#parts.hit.show(this)) scroll.jump();
      return true;
    } catch (error) {
      if (this.conversation !== conversation) return false;
      if (error instanceof HttpError && error.status === 404) this.lost();
      else if (isFresh) this.#enter("failed");
      if (!(error instanceof HttpError || error instanceof TypeError)) throw error; // not the network: a fault of ours
      return false;
    }
  }
}

const pathOf = (/** @type {string | null} */ id) => (id ? `/c/${id}/` : "/");
