// One conversation's messages as a tree, and the branch of it that is shown. Of old messages only
// the place in the tree may be known (`isStub`): their texts come later.

/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").ConversationView} ConversationView */
/** @typedef {[id: string, parent: string | null, role: Message["role"]]} Outlined */
/** @typedef {{ conversation: ConversationView, outline: Outlined[], messages: Message[] }} Reply */

/** @type {Omit<Message, "id" | "parent" | "role">} */
const STUB = {
  text: "",
  state: "done",
  finish_reason: "stop",
  error_code: "",
  error_text: "",
  request: null,
  position: 0,
  model: "",
  preset: "",
  created_at: "",
  trimmed_messages: 0,
  figures: null,
  isStub: true,
};

export class Conversation {
  /** @type {Map<string, Message>} */
  #messages = new Map();
  /** @type {Map<string | null, string>} parent → child that is shown below it */
  #shown = new Map();
  /** @type {Map<string, Message>} what a message was before it was replaced for the time being */
  #replaced = new Map();
  /** @type {string | null} */
  id = null;
  /** @type {ConversationView | null} */
  view = null;
  /** @type {Map<string, number>} when the socket brought a message; performance.now() */
  #heardAt = new Map();
  #viewHeardAt = 0;
  /** @type {string | null} the newest answer that the socket brought */
  #heardLeaf = null;

  /**
   * Take the site's reply to a question asked at `askedAt`, but not over what was heard since then.
   * `isFresh`: also show the branch that was shown last; else the reader's stays.
   * @param {Reply} reply
   * @param {{ askedAt: number, isFresh: boolean }} options
   */
  load({ conversation, outline, messages }, { askedAt, isFresh }) {
    if (this.#viewHeardAt <= askedAt) this.view = conversation;
    for (const [id, parent, role] of outline) {
      if (!this.get(id)) this.put({ ...STUB, id, parent, role }, { isShown: isFresh });
    }
    const order = new Set([...outline.map(([id]) => id), ...this.#messages.keys()]);
    this.#messages = new Map([...order].flatMap((id) => this.get(id) ?? []).map((message) => [message.id, message]));
    this.take(messages, askedAt);
    const leaf = this.#heardLeaf ?? conversation.active_leaf;
    if (isFresh && leaf) this.show(leaf);
  }

  /**
   * @param {Message[]} messages
   * @param {number} askedAt
   */
  take(messages, askedAt) {
    for (const message of messages) {
      if ((this.#heardAt.get(message.id) ?? 0) <= askedAt) this.put(message, { isShown: false });
    }
  }

  /**
   * The socket brought this message.
   * @param {Message} message
   */
  hear(message, { isShown = false } = {}) {
    this.#heardAt.set(message.id, performance.now());
    this.put(message, { isShown });
    if (isShown && message.role === "assistant") this.#heardLeaf = message.id;
  }

  /**
   * The socket brought the conversation's row.
   * @param {ConversationView} view
   */
  hearView(view) {
    this.#viewHeardAt = performance.now();
    this.view = view;
  }

  get messages() {
    return [...this.#messages.values()];
  }

  /** @param {string | null | undefined} id */
  get(id) {
    return id == null ? undefined : this.#messages.get(id);
  }

  /**
   * Add a message, or bring it up to date. A new one is shown; not `isShown`: only at the end of a
   * branch.
   * @param {Message} message
   */
  put(message, { isShown = true } = {}) {
    const known = this.#messages.get(message.id);
    this.#messages.set(message.id, { ...known, isStub: false, ...message });
    this.#replaced.delete(message.id);
    if (!known && (isShown || !this.#shown.has(message.parent))) this.#shown.set(message.parent, message.id);
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
