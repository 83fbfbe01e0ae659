// The conversations that the sidebar knows of: fetched page by page, searched, kept up to date.

import { get } from "./http.js";

/** @typedef {import("./types.js").ConversationView} ConversationView */
/** @typedef {import("./types.js").SidebarItem} SidebarItem */
/** @typedef {import("./undo-bar.js").Deletion} Deletion */

export class ConversationList {
  /** @type {Map<string, SidebarItem>} by id */
  #items = new Map();
  #query = "";
  /** @type {SidebarItem | null} the last one that the site gave */
  #oldest = null;
  #isComplete = false;
  /** @type {string[]} what the site did not understand of the search */
  #problems = [];
  /** @type {Deletion | null} */
  #deletion = null;
  /** @type {object | null} stands for the fetch that is on its way */
  #fetching = null;

  get query() {
    return this.#query;
  }

  get problems() {
    return this.#problems;
  }

  /** The last deletion that can be undone, as of the last `fetch`. */
  get deletion() {
    return this.#deletion;
  }

  /** Whether there is nothing further to fetch. */
  get isComplete() {
    return this.#isComplete;
  }

  get canFetchMore() {
    return !this.#isComplete && !this.#fetching && this.#oldest !== null;
  }

  /** Newest first. */
  get items() {
    return [...this.#items.values()].sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
  }

  /** @param {string | null | undefined} id */
  get(id) {
    return id == null ? undefined : this.#items.get(id);
  }

  /**
   * Add a conversation or bring it up to date. One that belongs to a page that was not fetched yet
   * is left to that page.
   * @param {ConversationView} view
   * @param {{ isOpen: boolean }} options whether the person has it before them
   */
  put(view, { isOpen }) {
    const known = this.#items.get(view.id);
    const isBeyond = !this.#isComplete && this.#oldest !== null && view.updated_at < this.#oldest.updated_at;
    if (!known && (this.#query || isBeyond)) return;
    const isNews = known?.is_writing && !view.is_writing && !isOpen;
    const title_marks = known?.title === view.title ? known?.title_marks : [];
    this.#items.set(view.id, { ...known, ...view, title_marks, has_news: isNews || (known?.has_news ?? false) });
  }

  /**
   * Take back one that was removed here, also into what a search has found.
   * @param {SidebarItem} item
   */
  restore(item) {
    this.#items.set(item.id, item);
  }

  /** @param {string} id */
  remove(id) {
    this.#items.delete(id);
  }

  /**
   * Fetch the first page for this search. False when a later fetch has overtaken it.
   * @param {string} query
   */
  async fetch(query) {
    this.#query = query;
    const page = await this.#fetch({ q: query });
    if (!page) return false;
    const news = new Set(this.items.filter((item) => item.has_news).map((item) => item.id));
    this.#items = new Map(page.items.map((item) => [item.id, { ...item, has_news: news.has(item.id) }]));
    this.#oldest = page.items.at(-1) ?? null;
    this.#isComplete = !page.more;
    this.#problems = page.problems;
    this.#deletion = page.deletion;
    return true;
  }

  /** Fetch the next page. False when another fetch has overtaken it. */
  async fetchMore() {
    const before = this.#oldest;
    if (!before) return false;
    const page = await this.#fetch({ q: this.#query, before: before.updated_at, before_id: before.id });
    if (!page) return false;
    for (const item of page.items) this.#items.set(item.id, { ...this.#items.get(item.id), ...item });
    this.#oldest = page.items.at(-1) ?? before;
    this.#isComplete = !page.more;
    return true;
  }

  /**
   * @param {Record<string, string>} parameters
   * @returns {Promise<{ items: SidebarItem[], more: boolean, problems: string[], deletion: Deletion | null } | null>}
   */
  async #fetch(parameters) {
    const fetching = (this.#fetching = {});
    try {
      const page = await get(`/conversations/?${new URLSearchParams(parameters)}`);
      return this.#fetching === fetching ? page : null;
    } finally {
      if (this.#fetching === fetching) this.#fetching = null;
    }
  }
}
