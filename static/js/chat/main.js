// The chat page: joins socket, thread, sidebar and composer, and keeps the address in step.

import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { FollowEnd } from "./follow-end.js";
import { get, post } from "./http.js";
import { LiveAnswer } from "./live.js";
import { Sidebar } from "./sidebar.js";
import { ChatSocket } from "./socket.js";
import { Thread } from "./thread.js";
import { say } from "./words.js";

const page = JSON.parse(document.getElementById("page-data").textContent);

class ChatPage {
  #conversation = new Conversation();
  #live = new Map(); // request → LiveAnswer
  #pending = new Map(); // client_id → {text, sentAt, tempId, conversation}
  #title = document.getElementById("title");
  #welcome = document.getElementById("welcome");
  #connection = document.getElementById("connection");
  #follow = new FollowEnd(document.getElementById("scroller"), document.getElementById("to-end"));
  #thread = new Thread(document.getElementById("thread"), this.#follow, (...a) => this.#act(...a));
  #composer = new Composer({
    submit: (text, editing) => this.#ask(text, editing),
    stop: () => this.#stop(),
    editLast: () => this.#editLast(),
  });
  #sidebar = new Sidebar({
    open: (id) => this.#open(id),
    deleted: (id) => id === this.#conversation.id && this.#open(null),
    failed: () => this.#composer.note(say("action_failed")),
  });
  #socket = new ChatSocket({
    version: page.version,
    onFrame: (frame) => this.#take(frame),
    onState: (isOpen) => this.#connected(isOpen),
  });

  constructor() {
    const model = page.models.find((m) => m.is_default) ?? page.models[0];
    const preset = page.presets.find((p) => p.is_default) ?? page.presets[0];
    this.#composer.choose({ model: model?.slug, preset: model?.default_preset ?? preset?.slug });
    addEventListener("popstate", () => this.#open(idOf(location.pathname), false));
    document.getElementById("new-chat").addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.#sidebar.close();
      this.#open(null);
    });
    document.addEventListener("keydown", (event) => {
      if (!event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.code === "KeyN") this.#open(null);
      else if (event.code === "KeyK") this.#sidebar.focusSearch();
      else return;
      event.preventDefault();
    });
    this.#open(page.conversation, false);
  }

  // --- conversations ---------------------------------------------------------------------------

  async #open(id, isNew = true) {
    if (isNew && location.pathname !== pathOf(id)) history.pushState(null, "", pathOf(id));
    this.#thread.clear();
    this.#conversation = new Conversation();
    this.#conversation.id = id;
    this.#composer.open(id);
    this.#sidebar.setCurrent(id);
    if (!id) return this.#draw();
    try {
      const { conversation, messages } = await get(`/conversations/${id}/`);
      if (this.#conversation.id !== id) return;
      this.#conversation = new Conversation(conversation, messages);
      this.#composer.choose(conversation);
      for (const message of messages) this.#followIfUnfinished(message);
      this.#draw();
      this.#follow.jump();
    } catch (error) {
      if (error.status === 404) location.assign("/");
      else this.#composer.note(say("load_failed"));
    }
  }

  #draw() {
    const { view } = this.#conversation;
    const title = view?.title || say("new_chat");
    this.#title.textContent = title;
    document.title = `${title} · chatsite`;
    this.#thread.show(this.#conversation, this.#live);
    this.#welcome.hidden = Boolean(this.#conversation.id) || this.#conversation.branch().length > 0;
    this.#composer.setWriting(Boolean(this.#conversation.unfinished()));
  }

  // --- what a person does ----------------------------------------------------------------------

  #ask(text, editing) {
    if (this.#conversation.unfinished()) return this.#composer.note(say("busy"));
    const client_id = crypto.randomUUID();
    const parent = editing ? editing.parent : (this.#conversation.branch().at(-1)?.id ?? null);
    const conversation = this.#conversation.id;
    const temporary = this.#placeholders(client_id, parent, text);
    this.#pending.set(client_id, { text, sentAt: performance.now(), conversation, temporary });
    this.#socket.ask({ type: "send", client_id, conversation, parent, text, ...this.#composer.choice });
    this.#composer.clear();
    this.#composer.note("");
    this.#draw();
    this.#follow.jump();
  }

  /** The question and its answer as they will be, shown until the site has stored them. */
  #placeholders(client_id, parent, text) {
    const now = new Date().toISOString();
    const common = { created_at: now, position: 0, finish_reason: "", trimmed_messages: 0, figures: null };
    const question = { ...common, id: client_id, parent, role: "user", text, state: "done" };
    const answer = { ...common, id: `${client_id}-answer`, parent: client_id, role: "assistant", text: "", state: "sending", request: client_id };
    for (const message of [question, answer]) this.#conversation.put(message);
    this.#live.set(client_id, new LiveAnswer(answer));
    if (!this.#socket.isOpen) this.#live.get(client_id).phase = { phase: "offline" };
    return [question.id, answer.id];
  }

  #act(action, message, button) {
    switch (action) {
      case "tick":
        for (const live of this.#live.values()) if (live.phase.phase === "writing") this.#thread.touch(live);
        break;
      case "copy":
        navigator.clipboard.writeText(message.text).then(() => flash(button));
        break;
      case "edit":
        this.#composer.edit(message);
        break;
      case "regenerate":
      case "continue":
        this.#again(action, message);
        break;
      case "previous":
      case "next":
        this.#turn(message, action === "next" ? 1 : -1);
    }
  }

  #again(type, message) {
    if (this.#conversation.unfinished()) return this.#composer.note(say("busy"));
    const client_id = crypto.randomUUID();
    const choice = type === "regenerate" ? this.#composer.choice : {};
    this.#pending.set(client_id, { sentAt: performance.now(), conversation: this.#conversation.id });
    this.#socket.ask({ type, client_id, message: message.id, ...choice });
  }

  #turn(message, step) {
    const siblings = this.#conversation.siblings(message);
    const next = siblings[siblings.findIndex((m) => m.id === message.id) + step];
    if (!next) return;
    this.#conversation.show(next.id);
    this.#draw();
    const leaf = this.#conversation.branch().at(-1);
    post(`/conversations/${this.#conversation.id}/leaf/`, { message: leaf.id }).catch(() => {});
  }

  #stop() {
    const answer = this.#conversation.unfinished();
    if (!answer) return;
    const live = this.#live.get(answer.request);
    if (live) {
      live.phase = { phase: "stopping" };
      this.#thread.touch(live);
    }
    this.#socket.tell({ type: "stop", message: answer.id });
  }

  #editLast() {
    const last = this.#conversation.branch().findLast((message) => message.role === "user");
    if (last) this.#composer.edit(last);
  }

  // --- what the site says ----------------------------------------------------------------------

  #take(frame) {
    switch (frame.type) {
      case "accepted":
        return this.#accepted(frame);
      case "phase":
        return this.#phase(frame);
      case "delta":
        return this.#delta(frame);
      case "ended":
        return this.#ended(frame);
      case "changed":
        return this.#changed(frame);
      case "error":
        return this.#refused(frame);
    }
  }

  #accepted({ client_id, conversation, messages }) {
    const pending = this.#pending.get(client_id);
    this.#pending.delete(client_id);
    this.#sidebar.put(conversation);
    const isHere = pending ? this.#conversation.id === pending.conversation : this.#conversation.id === conversation.id;
    if (!isHere) return;
    if (!this.#conversation.id) {
      this.#conversation.id = conversation.id;
      history.replaceState(null, "", pathOf(conversation.id));
      this.#sidebar.setCurrent(conversation.id);
      this.#composer.open(conversation.id);
    }
    for (const id of pending?.temporary ?? []) this.#conversation.remove(id);
    this.#live.delete(client_id);
    this.#conversation.view = conversation;
    for (const message of messages) {
      this.#conversation.put(message);
      this.#followIfUnfinished(message, pending?.sentAt);
    }
    const last = messages.at(-1);
    if (last) this.#conversation.show(last.id);
    this.#draw();
  }

  #followIfUnfinished(message, sentAt = null) {
    if (message.role !== "assistant" || message.state === "done" || !message.request) return;
    const known = this.#live.get(message.request);
    if (known) return;
    const live = new LiveAnswer(message, sentAt);
    this.#live.set(message.request, live);
    if (sentAt === null) this.#socket.follow(message.request, () => live.position);
    else this.#socket.expect(message.request, () => live.position);
  }

  #phase(frame) {
    const live = this.#live.get(frame.request);
    if (!live || live.phase.phase === "stopping") return;
    live.phase = frame;
    this.#thread.touch(live);
  }

  #delta(frame) {
    const live = this.#live.get(frame.request);
    if (live?.take(frame)) this.#thread.touch(live);
  }

  #ended({ request, message }) {
    const live = this.#live.get(request);
    this.#live.delete(request);
    if (this.#conversation.get(message.id)) {
      this.#conversation.put(message);
      this.#draw();
    }
    if (live?.sentAt != null) requestAnimationFrame(() => this.#reportPaint(live, message));
  }

  /** Tell the browser's own stamps, and show what they add to the figures. */
  #reportPaint(live, message) {
    live.painted();
    if (live.firstPaintAt === null) return;
    const first = live.firstPaintAt - live.sentAt;
    const last = live.lastPaintAt - live.sentAt;
    const micros = (value) => Math.round(1000 * value);
    this.#socket.tell({ type: "painted", request: live.request, first_paint_us: micros(first), last_paint_us: micros(last) });
    const known = this.#conversation.get(message.id);
    if (!known?.figures || known.figures.latency_ms == null) return;
    const figures = { ...known.figures, user_ttft_ms: first, user_latency_ms: last, delivery_ms: last - known.figures.latency_ms };
    this.#conversation.put({ ...known, figures });
    this.#draw();
  }

  #changed({ conversation, deleted, view }) {
    if (deleted) {
      this.#sidebar.remove(conversation);
      if (conversation === this.#conversation.id) this.#open(null);
    } else {
      this.#sidebar.put(view);
      if (conversation === this.#conversation.id) {
        this.#conversation.view = view;
        this.#draw();
      }
    }
  }

  #refused({ client_id, text }) {
    const pending = this.#pending.get(client_id);
    this.#pending.delete(client_id);
    if (pending && pending.conversation === this.#conversation.id) {
      for (const id of pending.temporary ?? []) this.#conversation.remove(id);
      this.#live.delete(client_id);
      if (pending.text) this.#composer.giveBack(pending.text);
      this.#draw();
    }
    this.#composer.note(text);
  }

  #connected(isOpen) {
    this.#connection.hidden = isOpen;
    this.#connection.textContent = isOpen ? "" : say(navigator.onLine ? "reconnecting" : "offline");
  }
}

const pathOf = (id) => (id ? `/c/${id}/` : "/");
const idOf = (path) => /^\/c\/([0-9a-f-]{36})\/$/.exec(path)?.[1] ?? null;

function flash(button) {
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1200);
}

new ChatPage();
