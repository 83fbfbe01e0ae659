// What is written and not sent: kept by conversation, by kind (a new question, or another version
// of a question) and by tab, until the site has it. A text has one owner: another window gets it
// only when no window has it before it any more.

/** @typedef {{ conversation: string | null, message: string | null }} Scope `message`: the question that another version is written of */
/** @typedef {{ text: string, at: number, isOpen: boolean, parent: string | null }} Draft `parent`: the message that the edited question follows */

const QUESTION = "question"; // stands in a key where an edited message's id would

export class Drafts {
  #person;
  #tabs;
  /** @type {Map<string, string>} what the storage would not take lives as long as the page */
  #memory = new Map();
  #shown = "";

  /**
   * @param {string} person
   * @param {import("./tabs.js").Tabs} tabs
   */
  constructor(person, tabs) {
    this.#person = person;
    this.#tabs = tabs;
  }

  /**
   * This tab's draft.
   * @param {Scope} scope
   */
  get(scope) {
    return this.#read(this.#key(scope));
  }

  /**
   * Keep a draft; an empty one is forgotten.
   * @param {Scope} scope
   * @param {{ text: string, isOpen?: boolean, parent?: string | null }} draft
   */
  put(scope, { text, isOpen = true, parent = null }) {
    const key = this.#key(scope);
    if (text) this.#write(key, JSON.stringify({ text, at: Date.now(), isOpen, parent }));
    else this.#remove(key);
  }

  /** @param {Scope} scope */
  remove(scope) {
    this.#remove(this.#key(scope));
  }

  /**
   * Say which one is before the person.
   * @param {Scope} scope
   */
  show(scope) {
    this.#tabs.release(this.#shown);
    this.#shown = this.#key(scope);
    this.#tabs.hold(this.#shown);
  }

  /**
   * The version of a question that was being written in this conversation and tab.
   * @param {string | null} conversation
   */
  openEdit(conversation) {
    const edit = this.#own(conversation).find(({ scope, draft }) => scope.message !== null && draft.isOpen);
    return edit?.scope.message ? { id: edit.scope.message, parent: edit.draft.parent } : null;
  }

  /**
   * Take over the newest text of this conversation that no window has before it. The scope it has
   * here; null when there is none. With `message` only other versions of that question, also those
   * that were left.
   * @param {string | null} conversation
   * @param {string | null} message
   */
  async adopt(conversation, message = null) {
    if (!this.#free(conversation, message, new Set()).length) return null;
    const held = await this.#tabs.heldElsewhere();
    const [newest] = this.#free(conversation, message, held);
    if (!newest) return null;
    const { key, scope, draft } = newest;
    if (this.get(scope)) return null;
    this.put(scope, draft);
    this.#remove(key);
    return { scope, draft };
  }

  /**
   * The drafts of one conversation become another one's: a new chat has been stored.
   * @param {string | null} from
   * @param {string | null} to
   */
  move(from, to) {
    for (const { scope, draft, key } of this.#own(from)) {
      this.put({ ...scope, conversation: to }, draft);
      this.#remove(key);
    }
  }

  /** @param {string | null} conversation */
  #own(conversation) {
    return this.#all(conversation).filter(({ tab }) => tab === this.#tabs.id);
  }

  /**
   * Newest first.
   * @param {string | null} conversation
   * @param {string | null} message
   * @param {Set<string>} held
   */
  #free(conversation, message, held) {
    const others = this.#all(conversation).filter(({ tab, key }) => tab !== this.#tabs.id && !held.has(key));
    const wanted = others.filter(({ scope, draft }) => (message ? scope.message === message : draft.isOpen));
    return wanted.sort((a, b) => b.draft.at - a.draft.at);
  }

  /** @param {string | null} conversation */
  #all(conversation) {
    const start = this.#start(conversation);
    const keys = [...this.#memory.keys(), ...Object.keys(localStorage)].filter((key) => key.startsWith(start));
    return keys.flatMap((key) => {
      const draft = this.#read(key);
      const [kind, tab] = key.slice(start.length).split(":");
      const message = kind === QUESTION ? null : kind;
      return draft && tab ? [{ key, tab, draft, scope: { conversation, message } }] : [];
    });
  }

  /** @param {Scope} scope */
  #key({ conversation, message }) {
    return `${this.#start(conversation)}${message ?? QUESTION}:${this.#tabs.id}`;
  }

  /** @param {string | null} conversation */
  #start(conversation) {
    return `draft:${this.#person}:${conversation ?? "new"}:`;
  }

  /**
   * @param {string} key
   * @returns {Draft | null}
   */
  #read(key) {
    try {
      return JSON.parse(this.#memory.get(key) ?? localStorage.getItem(key) ?? "null");
    } catch {
      return null;
    }
  }

  /**
   * @param {string} key
   * @param {string} value
   */
  #write(key, value) {
    try {
      localStorage.setItem(key, value);
      this.#memory.delete(key);
    } catch {
      this.#memory.set(key, value);
    }
  }

  /** @param {string} key */
  #remove(key) {
    this.#memory.delete(key);
    localStorage.removeItem(key);
  }
}
