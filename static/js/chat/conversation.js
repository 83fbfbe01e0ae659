// One conversation's messages as a tree, and the branch of it that is shown.

export class Conversation {
  #messages = new Map();
  #shown = new Map(); // parent id → child id that is shown below it
  id = null;
  view = null;

  constructor(view = null, messages = []) {
    this.view = view;
    this.id = view?.id ?? null;
    for (const message of messages) this.put(message);
    if (view?.active_leaf) this.show(view.active_leaf);
  }

  get(id) {
    return this.#messages.get(id);
  }

  /** Add or replace a message; a new one is shown. */
  put(message) {
    const isNew = !this.#messages.has(message.id);
    this.#messages.set(message.id, { ...this.#messages.get(message.id), ...message });
    if (isNew) this.#shown.set(message.parent, message.id);
  }

  remove(id) {
    const message = this.#messages.get(id);
    this.#messages.delete(id);
    if (message && this.#shown.get(message.parent) === id) {
      const last = this.children(message.parent).at(-1);
      if (last) this.#shown.set(message.parent, last.id);
      else this.#shown.delete(message.parent);
    }
  }

  children(parent) {
    return [...this.#messages.values()].filter((message) => message.parent === parent);
  }

  /** All versions of this message, in order, itself among them. */
  siblings(message) {
    return this.children(message.parent);
  }

  /** Show the branch that this message lies in. */
  show(id) {
    for (let at = this.get(id); at; at = this.get(at.parent)) this.#shown.set(at.parent, at.id);
  }

  /** The shown branch from the first question to its end. */
  branch() {
    const path = [];
    for (let at = this.get(this.#shown.get(null)); at; at = this.get(this.#shown.get(at.id))) path.push(at);
    return path;
  }

  /** The last message of that role on the shown branch. */
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
    return [...this.#messages.values()].find((m) => m.role === "assistant" && m.state !== "done");
  }
}
