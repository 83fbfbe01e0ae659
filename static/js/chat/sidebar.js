// The list of conversations: by day, searched, loaded as one scrolls, renamed, deleted with undo.

import { around, byId, copyOfTemplate, part } from "../dom.js";
import { Drawer } from "./drawer.js";
import { get, HttpError, post } from "./http.js";
import { editTitle, groupOf, headingOf, mark } from "./sidebar-rows.js";
import { translate } from "./i18n.js";

const UNDO_MS = 6000;
const SEARCH_MS = 200;
const NEAR_PX = 200;

/** @typedef {import("./types.js").ConversationView} ConversationView */
/** @typedef {import("./types.js").SidebarItem} SidebarItem */

/**
 * @typedef {object} Actions
 * @property {(id: string) => void} open
 * @property {(id: string) => void} deleted
 * @property {() => void} failed
 */

export class Sidebar {
  #list = byId("conversations");
  #search = byId("search", HTMLInputElement);
  #toast = byId("toast");
  #drawer = new Drawer();
  /** @type {Map<string, SidebarItem>} by id */
  #items = new Map();
  /** @type {Map<string, HTMLElement>} by id */
  #rows = new Map();
  #query = "";
  /** @type {SidebarItem | null} the last row that the site gave */
  #oldest = null;
  #isComplete = false;
  /** @type {{ query: string } | null} what is being asked for */
  #loading = null;
  /** @type {string | null} */
  #current = null;
  /** @type {Map<string, number>} id → timer of a deletion that can still be undone */
  #leaving = new Map();
  #on;

  /** @param {Actions} on */
  constructor(on) {
    this.#on = on;
    let timer = 0;
    this.#search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.reload(), SEARCH_MS);
    });
    this.#list.addEventListener("click", (event) => this.#clicked(event));
    this.#list.addEventListener("keydown", (event) => this.#pressed(event));
    this.#list.addEventListener("scroll", () => this.#maybeMore(), { passive: true });
    addEventListener("pagehide", () => this.#deleteLeaving());
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
    this.#query = this.#search.value.trim();
    await this.#load();
  }

  /** @param {string | null} id */
  setCurrent(id) {
    this.#current = id;
    const item = id === null ? undefined : this.#items.get(id);
    if (item) item.has_news = false;
    for (const [rowId, row] of this.#rows) this.#showState(row, this.#items.get(rowId));
  }

  /**
   * A conversation was made, renamed or moved on.
   * @param {ConversationView} view
   */
  put(view) {
    const known = this.#items.get(view.id);
    const isBeyond = !this.#isComplete && this.#oldest !== null && view.updated_at < this.#oldest.updated_at;
    if (!known && (this.#query || isBeyond)) return;
    const isNews = known?.is_writing && !view.is_writing && view.id !== this.#current;
    this.#items.set(view.id, { ...known, ...view, has_news: isNews || (known?.has_news ?? false) });
    this.#draw();
  }

  /** @param {string} id */
  remove(id) {
    this.#items.delete(id);
    this.#draw();
  }

  /** @param {string} id */
  rename(id) {
    this.#drawer.open();
    const row = this.#rows.get(id);
    if (row) this.#rename(row);
  }

  /** @param {string} id */
  delete(id) {
    if (this.#items.has(id)) this.#delete(id);
  }

  // --- what the site has -----------------------------------------------------------------------

  /**
   * The first rows, or those that follow the row `before`.
   * @param {SidebarItem | null} before
   */
  async #load(before = null) {
    const query = this.#query;
    const wanted = (this.#loading = { query });
    const parameters = new URLSearchParams({ q: query });
    if (before) {
      parameters.set("before", before.updated_at);
      parameters.set("before_id", before.id);
    }
    try {
      /** @type {{ items: SidebarItem[], more: boolean }} */
      const { items, more } = await get(`/conversations/?${parameters}`);
      if (this.#loading !== wanted) return;
      if (!before) {
        const news = new Set([...this.#items.values()].filter((item) => item.has_news).map((item) => item.id));
        this.#items = new Map(items.map((item) => [item.id, { ...item, has_news: news.has(item.id) }]));
        this.#list.scrollTop = 0;
      }
      for (const item of items) this.#items.set(item.id, { ...this.#items.get(item.id), ...item });
      this.#oldest = items.at(-1) ?? before;
      this.#isComplete = !more;
      this.#draw();
    } catch {
      this.#on.failed();
    } finally {
      if (this.#loading === wanted) this.#loading = null;
    }
    this.#maybeMore();
  }

  #maybeMore() {
    const { scrollTop, clientHeight, scrollHeight } = this.#list;
    const isNear = scrollHeight - clientHeight - scrollTop < NEAR_PX;
    if (isNear && clientHeight && !this.#isComplete && !this.#loading && this.#oldest) this.#load(this.#oldest);
  }

  // --- rows ------------------------------------------------------------------------------------

  #sorted() {
    return [...this.#items.values()]
      .filter((item) => !this.#leaving.has(item.id))
      .sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
  }

  /** Bring the list up to date. Rows that stay keep their nodes, and with them focus and field. */
  #draw() {
    /** @type {HTMLElement[]} */
    const wanted = [];
    let group = "";
    for (const item of this.#sorted()) {
      const name = groupOf(item.updated_at);
      if (name !== group) wanted.push(headingOf((group = name)));
      wanted.push(this.#rowOf(item));
    }
    if (!wanted.length && this.#isComplete) {
      const empty = document.createElement("p");
      empty.className = "empty quiet";
      empty.textContent = translate(this.#query ? "nothing_found" : "no_conversations");
      wanted.push(empty);
    }
    const staying = new Set(/** @type {Element[]} */ (wanted));
    for (const child of [...this.#list.children]) if (!staying.has(child)) child.remove();
    wanted.forEach((element, index) => {
      const there = this.#list.children[index];
      if (there !== element) this.#list.insertBefore(element, there ?? null);
    });
    for (const id of this.#rows.keys()) if (!this.#items.has(id)) this.#rows.delete(id);
  }

  /** @param {SidebarItem} item */
  #rowOf(item) {
    let row = this.#rows.get(item.id);
    if (!row) {
      row = copyOfTemplate("conversation-template");
      row.dataset.id = item.id;
      part(row, "a", HTMLAnchorElement).href = `/c/${item.id}/`;
      this.#rows.set(item.id, row);
    }
    const title = item.title || translate("new_chat");
    mark(part(row, ".name"), title, this.#query);
    part(row, "a").title = title;
    for (const action of ["rename", "delete"]) {
      part(row, `[data-do=${action}]`).setAttribute("aria-label", translate(`${action}_this`, { title }));
    }
    const snippet = part(row, ".snippet");
    snippet.hidden = !this.#query || !item.snippet;
    if (item.snippet && !snippet.hidden) mark(snippet, item.snippet, this.#query);
    this.#showState(row, item);
    return row;
  }

  /**
   * @param {HTMLElement} row
   * @param {SidebarItem | undefined} item
   */
  #showState(row, item) {
    const link = part(row, "a");
    if (item?.id === this.#current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    const sign = part(row, ".sign");
    sign.hidden = !(item?.is_writing || item?.has_news);
    if (!item || sign.hidden) return;
    sign.classList.toggle("is-writing", item.is_writing);
    sign.title = translate(item.is_writing ? "sign_writing" : "sign_news");
    part(sign, "span").textContent = sign.title;
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
      this.close();
      this.#on.open(idOf(row));
    }
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
    const links = [...this.#list.querySelectorAll("a")];
    const next = links[links.indexOf(part(row, "a", HTMLAnchorElement)) + step];
    if (next) next.focus();
    else if (step < 0) this.#search.focus();
  }

  /** @param {HTMLElement} row */
  async #rename(row) {
    const item = this.#items.get(idOf(row));
    if (!item || part(row, "a").hidden) return;
    const title = await editTitle(row, item.title);
    if (!title || title === item.title) return;
    this.put({ ...item, ...this.#items.get(item.id), title });
    try {
      const { conversation } = await post(`/conversations/${item.id}/rename/`, { title });
      this.put(conversation);
    } catch {
      this.put({ ...item, ...this.#items.get(item.id), title: item.title });
      this.#on.failed();
    }
  }

  /** @param {string} id */
  #delete(id) {
    const title = this.#items.get(id)?.title || translate("new_chat");
    this.#deleteLeaving();
    this.#leaving.set(id, setTimeout(() => this.#reallyDelete(id), UNDO_MS));
    part(this.#toast, "span").textContent = translate("deleted", { title });
    const undo = part(this.#toast, "button");
    undo.onclick = () => {
      clearTimeout(this.#leaving.get(id));
      this.#leaving.delete(id);
      this.#toast.hidden = true;
      this.#draw();
      this.#on.open(id);
    };
    this.#toast.hidden = false;
    this.#draw();
    this.#on.deleted(id);
    undo.focus();
  }

  /**
   * @param {string} id
   * @param {{ isLast?: boolean }} options
   */
  async #reallyDelete(id, options = {}) {
    this.#leaving.delete(id);
    const item = this.#items.get(id);
    this.#items.delete(id);
    this.#toast.hidden = true;
    try {
      await post(`/conversations/${id}/delete/`, {}, options);
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) return;
      if (item) this.#items.set(id, item);
      this.#draw();
      this.#on.failed();
    }
  }

  /** Deletions whose time to undo is cut short by leaving the page or by the next one. */
  #deleteLeaving() {
    for (const [id, timer] of this.#leaving) {
      clearTimeout(timer);
      this.#reallyDelete(id, { isLast: true });
    }
  }
}

const idOf = (/** @type {HTMLElement} */ row) => row.dataset.id ?? "";
