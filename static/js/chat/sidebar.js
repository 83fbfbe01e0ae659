// The list of conversations: by day, searched, loaded as one scrolls, renamed, deleted with undo.

import { around, byId, copyOfTemplate, part } from "../dom.js";
import { ConversationList } from "./conversation-list.js";
import { Drawer } from "./drawer.js";
import { HttpError, post } from "./http.js";
import { PendingDeletions } from "./pending-deletions.js";
import { editTitle, groupOf, headingOf, mark } from "./sidebar-rows.js";
import { translate } from "./i18n.js";

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
  #drawer = new Drawer();
  #known = new ConversationList();
  /** @type {Map<string, HTMLElement>} by id */
  #rows = new Map();
  /** @type {string | null} */
  #current = null;
  #deletions = new PendingDeletions((id, options) => this.#carryOut(id, options));
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
    await this.#load(async () => {
      const isNew = await this.#known.fetch(this.#search.value.trim());
      if (isNew) this.#list.scrollTop = 0;
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
    for (const [rowId, row] of this.#rows) this.#showState(row, this.#known.get(rowId));
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
    const row = this.#rows.get(id);
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
    /** @type {HTMLElement[]} */
    const wanted = [];
    let group = "";
    for (const item of this.#known.items) {
      if (this.#deletions.has(item.id)) continue;
      const name = groupOf(item.updated_at);
      if (name !== group) wanted.push(headingOf((group = name)));
      wanted.push(this.#rowOf(item));
    }
    if (!wanted.length && this.#known.isComplete) {
      const empty = document.createElement("p");
      empty.className = "empty quiet";
      empty.textContent = translate(this.#known.query ? "nothing_found" : "no_conversations");
      wanted.push(empty);
    }
    const staying = new Set(/** @type {Element[]} */ (wanted));
    for (const child of [...this.#list.children]) if (!staying.has(child)) child.remove();
    wanted.forEach((element, index) => {
      const there = this.#list.children[index];
      if (there !== element) this.#list.insertBefore(element, there ?? null);
    });
    for (const id of this.#rows.keys()) if (!this.#known.get(id)) this.#rows.delete(id);
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
    mark(part(row, ".name"), title, this.#known.query);
    part(row, "a").title = title;
    for (const action of ["rename", "delete"]) {
      part(row, `[data-do=${action}]`).setAttribute("aria-label", translate(`${action}_this`, { title }));
    }
    const snippet = part(row, ".snippet");
    snippet.hidden = !this.#known.query || !item.snippet;
    if (item.snippet && !snippet.hidden) mark(snippet, item.snippet, this.#known.query);
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
  #delete(id) {
    const title = this.#known.get(id)?.title || translate("new_chat");
    this.#deletions.start(id, title, () => {
      this.#draw();
      this.#on.open(id);
    });
    this.#draw();
    this.#on.deleted(id);
    this.#deletions.focus();
  }

  /**
   * @param {string} id
   * @param {{ isLast: boolean }} options
   */
  async #carryOut(id, options) {
    const item = this.#known.get(id);
    this.#known.remove(id);
    try {
      await post(`/conversations/${id}/delete/`, {}, options);
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) return;
      if (item) this.put(item);
      this.#on.failed();
    }
  }
}

const idOf = (/** @type {HTMLElement} */ row) => row.dataset.id ?? "";
