// The list of conversations: by day, searched, loaded as one scrolls, renamed, deleted with undo.

import { get, post } from "./http.js";
import { say } from "./words.js";

const UNDO_MS = 5000;
const SEARCH_MS = 200;
const DAY_MS = 86_400_000;

export class Sidebar {
  #list = document.getElementById("conversations");
  #search = document.getElementById("search");
  #template = document.getElementById("conversation-template");
  #toast = document.getElementById("toast");
  #items = new Map(); // id → view
  #isComplete = false;
  #isLoading = false;
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
    this.#list.addEventListener("scroll", () => this.#maybeMore(), { passive: true });
    addEventListener("pagehide", () => this.#deleteLeaving());
    this.#openAndClose();
    this.reload();
  }

  focusSearch() {
    this.#search.focus();
  }

  async reload() {
    this.#items.clear();
    this.#isComplete = false;
    await this.#more(true);
  }

  setCurrent(id) {
    this.#current = id;
    for (const row of this.#list.querySelectorAll(".conversation")) {
      const link = row.querySelector("a");
      if (row.dataset.id === id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  /** A conversation was made, renamed or moved on. */
  put(view) {
    if (this.#search.value.trim() && !this.#items.has(view.id)) return;
    this.#items.set(view.id, { ...this.#items.get(view.id), ...view });
    this.#draw();
  }

  remove(id) {
    this.#items.delete(id);
    this.#draw();
  }

  close() {
    document.body.classList.remove("with-sidebar");
    document.getElementById("scrim").hidden = true;
    document.getElementById("open-sidebar").setAttribute("aria-expanded", "false");
  }

  async #more(isFirst = false) {
    if (this.#isLoading && !isFirst) return;
    this.#isLoading = true;
    const query = this.#search.value.trim();
    const last = [...this.#sorted()].at(-1);
    const parameters = new URLSearchParams({ q: query });
    if (!isFirst && last) parameters.set("before", last.updated_at);
    try {
      const { items, more } = await get(`/conversations/?${parameters}`);
      if (query !== this.#search.value.trim()) return;
      for (const item of items) this.#items.set(item.id, item);
      this.#isComplete = !more;
      this.#draw();
    } catch {
      this.#on.failed();
    } finally {
      this.#isLoading = false;
    }
  }

  #maybeMore() {
    const { scrollTop, clientHeight, scrollHeight } = this.#list;
    if (!this.#isComplete && scrollHeight - clientHeight - scrollTop < 200) this.#more();
  }

  #sorted() {
    return [...this.#items.values()]
      .filter((item) => !this.#leaving.has(item.id))
      .sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
  }

  #draw() {
    const rows = [];
    let group = null;
    for (const item of this.#sorted()) {
      const name = groupOf(item.updated_at);
      if (name !== group) {
        group = name;
        const heading = document.createElement("h2");
        heading.textContent = name;
        rows.push(heading);
      }
      rows.push(this.#rowOf(item));
    }
    if (!rows.length && this.#isComplete) {
      const empty = document.createElement("p");
      empty.className = "empty quiet";
      empty.textContent = say(this.#search.value.trim() ? "nothing_found" : "no_conversations");
      rows.push(empty);
    }
    this.#list.replaceChildren(...rows);
    this.setCurrent(this.#current);
  }

  #rowOf(item) {
    const row = this.#template.content.cloneNode(true).firstElementChild;
    row.dataset.id = item.id;
    const link = row.querySelector("a");
    link.href = `/c/${item.id}/`;
    const query = this.#search.value.trim();
    mark(row.querySelector(".name"), item.title || say("new_chat"), query);
    const snippet = row.querySelector(".snippet");
    snippet.hidden = !item.snippet;
    if (item.snippet) mark(snippet, item.snippet, query);
    row.querySelector(".writing").hidden = !item.is_writing;
    return row;
  }

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

  #rename(row) {
    const item = this.#items.get(row.dataset.id);
    const field = document.createElement("input");
    field.value = item.title;
    field.maxLength = 120;
    field.setAttribute("aria-label", say("title_label"));
    row.querySelector("a").replaceWith(field);
    row.classList.add("renaming");
    field.select();
    let isOver = false;
    const end = async (isKept) => {
      if (isOver) return;
      isOver = true;
      const title = field.value.trim();
      if (isKept && title && title !== item.title) {
        try {
          this.put((await post(`/conversations/${item.id}/rename/`, { title })).conversation);
        } catch {
          this.#on.failed();
        }
      }
      this.#draw();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") end(true);
      else if (event.key === "Escape") end(false);
    });
    field.addEventListener("blur", () => end(true));
  }

  #delete(id) {
    const title = this.#items.get(id).title || say("new_chat");
    this.#deleteLeaving();
    this.#leaving.set(id, setTimeout(() => this.#reallyDelete(id), UNDO_MS));
    this.#toast.querySelector("span").textContent = say("deleted", { title });
    this.#toast.querySelector("button").onclick = () => {
      clearTimeout(this.#leaving.get(id));
      this.#leaving.delete(id);
      this.#toast.hidden = true;
      this.#draw();
    };
    this.#toast.hidden = false;
    this.#draw();
    this.#on.deleted(id);
  }

  async #reallyDelete(id) {
    this.#leaving.delete(id);
    this.#items.delete(id);
    this.#toast.hidden = true;
    try {
      await post(`/conversations/${id}/delete/`);
    } catch (error) {
      if (error.status !== 404) this.#on.failed();
    }
  }

  /** Deletions whose time to undo is cut short by leaving the page or by the next one. */
  #deleteLeaving() {
    for (const [id, timer] of this.#leaving) {
      clearTimeout(timer);
      this.#reallyDelete(id);
    }
  }

  #openAndClose() {
    const scrim = document.getElementById("scrim");
    const button = document.getElementById("open-sidebar");
    button.addEventListener("click", () => {
      document.body.classList.add("with-sidebar");
      scrim.hidden = false;
      button.setAttribute("aria-expanded", "true");
      document.getElementById("close-sidebar").focus();
    });
    for (const element of [scrim, document.getElementById("close-sidebar")]) {
      element.addEventListener("click", () => this.close());
    }
  }
}

function groupOf(iso) {
  const date = new Date(iso);
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (date >= midnight) return say("today");
  if (date >= midnight - DAY_MS) return say("yesterday");
  if (date >= midnight - 7 * DAY_MS) return say("last_week");
  return new Intl.DateTimeFormat(document.documentElement.lang, { month: "long", year: "numeric" }).format(date);
}

/** Put `text` into `element` with every hit of `query` marked. */
function mark(element, text, query) {
  element.replaceChildren();
  const lower = text.toLowerCase();
  const wanted = query.toLowerCase();
  let from = 0;
  for (let at = wanted ? lower.indexOf(wanted) : -1; at >= 0; at = lower.indexOf(wanted, from)) {
    const hit = document.createElement("mark");
    hit.textContent = text.slice(at, at + query.length);
    element.append(text.slice(from, at), hit);
    from = at + query.length;
  }
  element.append(text.slice(from));
}
