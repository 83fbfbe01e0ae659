// The list of conversations: by day, searched, loaded as one scrolls, renamed, deleted with undo.

import { Drawer } from "./drawer.js";
import { get, post } from "./http.js";
import { editTitle, groupOf, headingOf, mark } from "./sidebar-rows.js";
import { translate } from "./i18n.js";

const UNDO_MS = 6000;
const SEARCH_MS = 200;
const NEAR_PX = 200;

export class Sidebar {
  #list = document.getElementById("conversations");
  #search = document.getElementById("search");
  #template = document.getElementById("conversation-template");
  #toast = document.getElementById("toast");
  #drawer = new Drawer();
  #items = new Map(); // id → view
  #rows = new Map(); // id → element
  #query = "";
  #oldest = null; // the last row that the site gave
  #isComplete = false;
  #loading = null; // query that is on its way
  #current = null;
  #leaving = new Map(); // id → timer of a deletion that can still be undone
  #on;

  /** `on` has open(id), deleted(id) and failed(). */
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

  setCurrent(id) {
    this.#current = id;
    const item = this.#items.get(id);
    if (item) item.has_news = false;
    for (const [rowId, row] of this.#rows) this.#showState(row, this.#items.get(rowId));
  }

  /** A conversation was made, renamed or moved on. */
  put(view) {
    const known = this.#items.get(view.id);
    const isBeyond = !this.#isComplete && this.#oldest !== null && view.updated_at < this.#oldest.updated_at;
    if (!known && (this.#query || isBeyond)) return;
    const isNews = known?.is_writing && !view.is_writing && view.id !== this.#current;
    this.#items.set(view.id, { ...known, ...view, has_news: isNews || (known?.has_news ?? false) });
    this.#draw();
  }

  remove(id) {
    this.#items.delete(id);
    this.#draw();
  }

  rename(id) {
    this.#drawer.open();
    const row = this.#rows.get(id);
    if (row) this.#rename(row);
  }

  delete(id) {
    if (this.#items.has(id)) this.#delete(id);
  }

  // --- what the site has -----------------------------------------------------------------------

  /** The first rows, or those that follow the row `before`. */
  async #load(before = null) {
    const query = this.#query;
    const wanted = (this.#loading = { query });
    const parameters = new URLSearchParams({ q: query });
    if (before) {
      parameters.set("before", before.updated_at);
      parameters.set("before_id", before.id);
    }
    try {
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
    const wanted = [];
    let group = null;
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
    const staying = new Set(wanted);
    for (const child of [...this.#list.children]) if (!staying.has(child)) child.remove();
    wanted.forEach((element, index) => {
      const there = this.#list.children[index];
      if (there !== element) this.#list.insertBefore(element, there ?? null);
    });
    for (const id of this.#rows.keys()) if (!this.#items.has(id)) this.#rows.delete(id);
  }

  #rowOf(item) {
    let row = this.#rows.get(item.id);
    if (!row) {
      row = this.#template.content.cloneNode(true).firstElementChild;
      row.dataset.id = item.id;
      row.querySelector("a").href = `/c/${item.id}/`;
      this.#rows.set(item.id, row);
    }
    const title = item.title || translate("new_chat");
    mark(row.querySelector(".name"), title, this.#query);
    row.querySelector("a").title = title;
    for (const action of ["rename", "delete"]) {
      row.querySelector(`[data-do=${action}]`).setAttribute("aria-label", translate(`${action}_this`, { title }));
    }
    const snippet = row.querySelector(".snippet");
    snippet.hidden = !this.#query || !item.snippet;
    if (!snippet.hidden) mark(snippet, item.snippet, this.#query);
    this.#showState(row, item);
    return row;
  }

  #showState(row, item) {
    const link = row.querySelector("a");
    if (item?.id === this.#current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    const sign = row.querySelector(".sign");
    sign.hidden = !(item?.is_writing || item?.has_news);
    if (sign.hidden) return;
    sign.classList.toggle("is-writing", item.is_writing);
    sign.title = translate(item.is_writing ? "sign_writing" : "sign_news");
    sign.querySelector("span").textContent = sign.title;
  }

  // --- what a person does ----------------------------------------------------------------------

  #clicked(event) {
    const row = event.target.closest(".conversation");
    if (!row) return;
    const action = event.target.closest("[data-do]")?.dataset.do;
    if (action === "rename") this.#rename(row);
    else if (action === "delete") this.#delete(row.dataset.id);
    else if (event.target.closest("a") && !event.metaKey && !event.ctrlKey && !event.shiftKey) {
      event.preventDefault();
      this.close();
      this.#on.open(row.dataset.id);
    }
  }

  #pressed(event) {
    const row = event.target.closest("a")?.closest(".conversation");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!row) return;
    if (event.key === "F2") this.#rename(row);
    else if (event.key === "Delete") this.#delete(row.dataset.id);
    else if (step) this.#step(row, step);
    else return;
    event.preventDefault();
  }

  #step(row, step) {
    const links = [...this.#list.querySelectorAll(".conversation a")];
    const next = links[links.indexOf(row.querySelector("a")) + step];
    if (next) next.focus();
    else if (step < 0) this.#search.focus();
  }

  async #rename(row) {
    const item = this.#items.get(row.dataset.id);
    if (!item || row.querySelector("a").hidden) return;
    const title = await editTitle(row, item.title);
    if (!title || title === item.title) return;
    this.put({ ...this.#items.get(item.id), title });
    try {
      const { conversation } = await post(`/conversations/${item.id}/rename/`, { title });
      this.put(conversation);
    } catch {
      this.put({ ...this.#items.get(item.id), title: item.title });
      this.#on.failed();
    }
  }

  #delete(id) {
    const title = this.#items.get(id).title || translate("new_chat");
    this.#deleteLeaving();
    this.#leaving.set(id, setTimeout(() => this.#reallyDelete(id), UNDO_MS));
    this.#toast.querySelector("span").textContent = translate("deleted", { title });
    const undo = this.#toast.querySelector("button");
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

  async #reallyDelete(id, options = {}) {
    this.#leaving.delete(id);
    const item = this.#items.get(id);
    this.#items.delete(id);
    this.#toast.hidden = true;
    try {
      await post(`/conversations/${id}/delete/`, {}, options);
    } catch (error) {
      if (error.status === 404) return;
      this.#items.set(id, item);
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
