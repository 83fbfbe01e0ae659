// One conversation's messages as a tree, and the branch of it that is shown.

/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").ConversationView} ConversationView */

export class Conversation {
  /** @type {Map<string, Message>} */
  #messages = new Map();
  /** @type {Map<string | null, string>} parent → child that is shown below it */
  #shown = new Map();
  /** @type {Map<string, Message>} what a message was before it was replaced for the time being */
  #replaced = new Map();
  /** @type {string | null} */
  id;
  /** @type {ConversationView | null} */
  view;

  /**
   * @param {ConversationView | null} view
   * @param {Message[]} messages
   */
  constructor(view = null, messages = []) {
    this.view = view;
    this.id = view?.id ?? null;
    for (const message of messages) this.put(message);
    if (view?.active_leaf) this.show(view.active_leaf);
  }

  get messages() {
    return [...this.#messages.values()];
  }

  /** @param {string | null | undefined} id */
  get(id) {
    return id == null ? undefined : this.#messages.get(id);
  }

  /**
   * Add a message, or bring it up to date; a new one is shown.
   * @param {Message} message
   */
  put(message) {
    const known = this.#messages.get(message.id);
    this.#messages.set(message.id, { ...known, ...message });
    this.#replaced.delete(message.id);
    if (!known) this.#shown.set(message.parent, message.id);
  }

  /**
   * As `put`, until `restore`.
   * @param {Message} message
   */
  replace(message) {
    const known = this.#messages.get(message.id);
    this.put(message);
    if (known) this.#replaced.set(message.id, known);
  }

  /**
   * Make a message what it was before it was replaced.
   * @param {string} id
   */
  restore(id) {
    const before = this.#replaced.get(id);
    if (before) this.put(before);
  }

  /** @param {string} id */
  remove(id) {
    const message = this.#messages.get(id);
    this.#messages.delete(id);
    if (message && this.#shown.get(message.parent) === id) {
      const last = this.children(message.parent).at(-1);
      if (last) this.#shown.set(message.parent, last.id);
      else this.#shown.delete(message.parent);
    }
  }

  /** @param {string | null} parent */
  children(parent) {
    return this.messages.filter((message) => message.parent === parent);
  }

  /**
   * All versions of this message, in order, itself among them.
   * @param {Message} message
   */
  siblings(message) {
    return this.children(message.parent);
  }

  /**
   * Show the branch that this message lies in.
   * @param {string} id
   */
  show(id) {
    for (let at = this.get(id); at; at = this.get(at.parent)) this.#shown.set(at.parent, at.id);
  }

  /** The shown branch from the first question to its end. */
  branch() {
    /** @type {Message[]} */
    const path = [];
    for (let at = this.get(this.#shown.get(null)); at; at = this.get(this.#shown.get(at.id))) path.push(at);
    return path;
  }

  /**
   * The last message of that role on the shown branch.
   * @param {Message["role"]} role
   */
  last(role) {
    return this.branch().findLast((message) => message.role === role);
  }

  /** Tokens of the context that the shown branch fills; null while no answer has told. */
  contextUsed() {
    const figures = this.last("assistant")?.figures;
    return figures?.prompt_tokens ? figures.prompt_tokens + (figures.completion_tokens ?? 0) : null;
  }

  /** The answer that is being made, if one is. */
  unfinished() {
    return this.messages.find((message) => message.role === "assistant" && message.state !== "done");
  }
}
