// The list of conversations: by day, searched, loaded as one scrolls, renamed, deleted with undo.
// Deleting is the site's: the row goes at once, and comes back when the site can't.

import { around, byId, part } from "../dom.js";
import { ConversationList } from "./conversation-list.js";
import { Drawer } from "./drawer.js";
import { HttpError, post } from "./http.js";
import { translate } from "./i18n.js";
import { editTitle, elementOf, groupOf, idOf, isRow, showState } from "./sidebar-rows.js";
import { UndoBar } from "./undo-bar.js";
import { linkIn, WindowedList } from "./windowed-list.js";

const SEARCH_MS = 200;
const NEAR_PX = 200;

/** @typedef {import("./hit.js").Found} Found */
/** @typedef {import("./types.js").ConversationView} ConversationView */
/** @typedef {import("./types.js").SidebarItem} SidebarItem */

/** @typedef {import("./sidebar-rows.js").Entry} Entry */

/**
 * @typedef {object} Actions
 * @property {(id: string, found: Found | null) => void} open
 * @property {(id: string) => void} deleted
 * @property {() => void} failed
 */

export class Sidebar {
  #list = byId("conversations");
  #search = byId("search", HTMLInputElement);
  #empty = byId("no-conversations");
  #problem = byId("search-problem");
  #drawer = new Drawer();
  #known = new ConversationList();
  /** @type {WindowedList<Entry>} */
  #rows = new WindowedList(byId("conversations"), (entry, element) =>
    elementOf(entry, element, { current: this.#current }),
  );
  /** @type {string | null} */
  #current = null;
  #undo;
  #timer = 0;
  #isSearchDue = false;
  #on;

  /** @param {Actions} on */
  constructor(on) {
    this.#on = on;
    this.#undo = new UndoBar(on.failed);
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#isSearchDue = true;
      this.#timer = setTimeout(() => this.reload(), SEARCH_MS);
    });
    this.#search.addEventListener("keydown", (event) => this.#pressedInSearch(event));
    this.#list.addEventListener("click", (event) => this.#clicked(event));
    this.#list.addEventListener("keydown", (event) => this.#pressed(event));
    this.#list.addEventListener("scroll", () => this.#maybeMore(), { passive: true });
    this.reload();
  }

  focusSearch() {
    this.#drawer.open();
    this.#search.select();
  }

  close() {
    return this.#drawer.close();
  }

  toggle() {
    this.#drawer.toggle();
  }

  /** Ask the site again: for another search, or after the connection was away. */
  async reload() {
    clearTimeout(this.#timer);
    this.#isSearchDue = false;
    await this.#load(async () => {
      const before = this.#known.query;
      const isNew = await this.#known.fetch(this.#search.value.trim());
      if (isNew && this.#known.query !== before) this.#list.scrollTop = 0;
      if (isNew) this.#undo.know(this.#known.deletion, () => this.reload());
      return isNew;
    });
  }

  /**
   * The title of a conversation, as far as the list knows it.
   * @param {string | null} id
   */
  titleOf(id) {
    return this.#known.get(id)?.title ?? "";
  }

  /** @param {string | null} id */
  setCurrent(id) {
    this.#current = id;
    const item = this.#known.get(id);
    if (item) item.has_news = false;
    for (const [key, row] of this.#rows.drawn) if (isRow(row)) showState(row, this.#known.get(key), { current: id });
  }

  /**
   * A conversation was made, renamed or moved on.
   * @param {ConversationView} view
   */
  put(view) {
    this.#known.put(view, { isOpen: view.id === this.#current });
    this.#draw();
  }

  /** @param {string} id */
  remove(id) {
    this.#known.remove(id);
    this.#draw();
  }

  /** @param {string} id */
  rename(id) {
    this.#drawer.open();
    const row = this.#rows.reveal(id);
    if (row) this.#rename(row);
  }

  /** @param {string} id */
  delete(id) {
    if (this.#known.get(id)) this.#delete(id);
  }

  /** @param {() => Promise<boolean>} fetch says whether there is something new */
  async #load(fetch) {
    try {
      if (!(await fetch())) return;
      this.#draw();
      this.#maybeMore();
    } catch {
      this.#on.failed();
    }
  }

  #maybeMore() {
    const { scrollTop, clientHeight, scrollHeight } = this.#list;
    const isNear = scrollHeight - clientHeight - scrollTop < NEAR_PX;
    if (isNear && clientHeight && this.#known.canFetchMore) this.#load(() => this.#known.fetchMore());
  }

  // --- rows ------------------------------------------------------------------------------------

  /** Bring the list up to date. Rows that stay keep their nodes, and with them focus and field. */
  #draw() {
    /** @type {Entry[]} */
    const entries = [];
    let group = "";
    for (const item of this.#known.items) {
      const name = groupOf(item.updated_at);
      if (name !== group) entries.push({ key: `group ${(group = name)}`, kind: "group", name });
      const kind = this.#known.query && item.snippet ? "conversation found" : "conversation";
      entries.push({ key: item.id, kind, name: item.title || translate("new_chat"), item });
    }
    this.#rows.show(entries);
    this.#empty.hidden = entries.length > 0 || !this.#known.isComplete;
    this.#empty.textContent = translate(this.#known.query ? "nothing_found" : "no_conversations");
    this.#problem.hidden = !this.#known.problems.length;
    this.#problem.textContent = this.#known.problems.join(" ");
  }

  // --- what a person does ----------------------------------------------------------------------

  /** @param {MouseEvent} event */
  #clicked(event) {
    const row = around(event, ".conversation");
    if (!row) return;
    const action = around(event, "[data-do]")?.dataset.do;
    if (action === "rename") this.#rename(row);
    else if (action === "delete") this.#delete(idOf(row));
    else if (around(event, "a") && !event.metaKey && !event.ctrlKey && !event.shiftKey) {
      event.preventDefault();
      this.#open(idOf(row));
    }
  }

  /**
   * Open a conversation, at the message that was found in it.
   * @param {string} id
   */
  #open(id) {
    const message = this.#known.query ? this.#known.get(id)?.hit : null;
    this.close();
    this.#on.open(id, message ? { conversation: id, message, words: this.#known.query } : null);
  }

  /**
   * ↓ leads into the list; Enter opens the first one found, also when it has yet to be searched.
   * @param {KeyboardEvent} event
   */
  async #pressedInSearch(event) {
    const isConfirming = event.isComposing || event.keyCode === 229; // a candidate, not the search
    if (isConfirming || !["ArrowDown", "Enter"].includes(event.key)) return;
    event.preventDefault();
    if (this.#isSearchDue) await this.reload();
    const first = this.#rows.entries.find((entry) => entry.item);
    if (!first) return;
    if (event.key === "Enter") this.#open(first.key);
    else linkIn(this.#rows.reveal(first.key))?.focus();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const row = around(event, ".conversation");
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!row || !around(event, "a")) return;
    if (event.key === "F2") this.#rename(row);
    else if (event.key === "Delete") this.#delete(idOf(row));
    else if (step) this.#step(row, step);
    else return;
    event.preventDefault();
  }

  /**
   * @param {HTMLElement} row
   * @param {number} step
   */
  #step(row, step) {
    const conversations = this.#rows.entries.filter((entry) => entry.item);
    const next = conversations[conversations.findIndex(({ key }) => key === idOf(row)) + step];
    if (next) linkIn(this.#rows.reveal(next.key))?.focus();
    else if (step < 0) this.#search.focus();
  }

  /** @param {HTMLElement} row */
  async #rename(row) {
    const item = this.#known.get(idOf(row));
    if (!item || part(row, "a").hidden) return;
    const title = await editTitle(row, item.title);
    if (!title || title === item.title) return;
    this.put({ ...item, ...this.#known.get(item.id), title });
    try {
      const { conversation } = await post(`/conversations/${item.id}/rename/`, { title });
      this.put(conversation);
    } catch {
      this.put({ ...item, ...this.#known.get(item.id), title: item.title });
      this.#on.failed();
    }
  }

  /** @param {string} id */
  async #delete(id) {
    const item = this.#known.get(id);
    if (!item) return;
    const wasOpen = id === this.#current;
    this.remove(id);
    this.#on.deleted(id);
    const made = post(`/conversations/${id}/delete/`, {}, { isLast: true });
    const deletion = made.then((reply) => reply.deletion);
    this.#undo.began(item.title || translate("new_chat"), deletion, () => {
      this.#known.restore(item);
      this.#draw();
      // One stays where one was: it is opened again only where its place is still empty.
      if (wasOpen && this.#current === null) this.#on.open(id, null);
    });
    try {
      await deletion;
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) return;
      this.#undo.hide();
      this.#known.restore(item);
      this.#draw();
      this.#on.failed();
    }
  }
}
