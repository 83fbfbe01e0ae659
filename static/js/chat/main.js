// The chat page: what a person does goes to the site, and what the site says to the page's parts.

import { RegenerateMenu } from "./regenerate-menu.js";
import { AnswerStreams } from "./answer-streams.js";
import { copyText } from "./browser.js";
import { Composer } from "./composer.js";
import { ScrollFollower } from "./scroll-follower.js";
import { post } from "./http.js";
import { listenToShortcuts, showShortcuts } from "./shortcuts.js";
import { Outbox } from "./outbox.js";
import { page } from "./page.js";
import { PendingMessages } from "./pending-messages.js";
import { ConversationController } from "./conversation-controller.js";
import { Sidebar } from "./sidebar.js";
import { ChatSocket } from "./socket.js";
import { Thread } from "./thread.js";
import { translate } from "./i18n.js";

class ChatPage {
  #hasConnected = false;
  #connection = document.getElementById("connection");
  #follow = new ScrollFollower(document.getElementById("scroller"), document.getElementById("to-end"));
  #thread = new Thread(document.getElementById("thread"), this.#follow, (...a) => this.#act(...a));
  #menu = new RegenerateMenu(page);
  #composer = new Composer({
    person: page.user.name,
    maxChars: page.limits.text_chars,
    on: {
      submit: (text, editing) => this.#ask(text, editing),
      stop: () => this.#stop(),
      editLast: () => this.#editLast(),
    },
  });
  #sidebar = new Sidebar({
    open: (id) => this.#room.open(id),
    deleted: (id) => id === this.#room.id && this.#room.open(null),
    failed: () => this.#composer.note(translate("action_failed")),
  });
  #outbox = new Outbox(page.user.name);
  #socket = new ChatSocket({
    version: page.version,
    outbox: this.#outbox,
    onFrame: (frame) => this.#take(frame),
    onState: (isOpen) => this.#connected(isOpen),
    onTooLarge: (frame) => this.#tooLarge(frame),
  });
  #answers = new AnswerStreams(this.#socket, this.#thread);
  #questions = new PendingMessages({ outbox: this.#outbox, socket: this.#socket, answers: this.#answers });
  #room = new ConversationController({
    models: page.models,
    thread: this.#thread,
    follow: this.#follow,
    composer: this.#composer,
    sidebar: this.#sidebar,
    answers: this.#answers,
    questions: this.#questions,
  });

  constructor() {
    const model = page.models.find((m) => m.is_default) ?? page.models[0];
    const preset = page.presets.find((p) => p.is_default) ?? page.presets[0];
    this.#composer.choose({ model: model?.slug, preset: model?.default_preset ?? preset?.slug });
    addEventListener("popstate", () => this.#room.follow(location.pathname));
    document.getElementById("new-chat").addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.#newChat();
    });
    document.getElementById("model").addEventListener("change", () => this.#room.showContext());
    const onLast = (action) => () => this.#actOnLast(action);
    listenToShortcuts({
      escape: (event) => this.#escape(event),
      KeyN: () => this.#newChat(),
      KeyK: () => this.#sidebar.focusSearch(),
      KeyB: () => this.#sidebar.toggle(),
      KeyT: () => this.#room.id && this.#sidebar.rename(this.#room.id),
      KeyX: () => this.#room.id && this.#sidebar.delete(this.#room.id),
      KeyC: onLast("copy"),
      KeyR: onLast("regenerate"),
      KeyP: onLast("choose-again"),
      KeyG: onLast("continue"),
      KeyW: onLast("figures"),
      Comma: onLast("previous"),
      Period: onLast("next"),
      End: () => this.#follow.jump(),
      Slash: showShortcuts,
    });
    this.#room.open(page.conversation, false);
  }

  // --- what a person does ----------------------------------------------------------------------

  get #conversation() {
    return this.#room.conversation;
  }

  #newChat() {
    this.#sidebar.close();
    this.#room.open(null);
    this.#composer.focus();
  }

  async #ask(text, editing) {
    if (this.#conversation.unfinished()) return this.#composer.note(translate("busy"));
    this.#composer.clear();
    const { id } = this.#room;
    await this.#room.isReady;
    if (this.#room.id !== id) return this.#composer.giveBack(id, text); // another was chosen meanwhile
    const parent = editing ? editing.parent : (this.#conversation.branch().at(-1)?.id ?? null);
    this.#questions.send(this.#conversation, { parent, text, choice: this.#composer.choice });
    this.#composer.note("");
    this.#room.draw();
    this.#follow.jump();
  }

  #act(action, message, button) {
    switch (action) {
      case "copy":
        return copyText(message.text).then(() => flash(button), () => this.#composer.note(translate("action_failed")));
      case "edit":
        return this.#composer.edit(message);
      case "regenerate":
        return this.#again("regenerate", message, this.#composer.choice);
      case "choose-again":
        return this.#menu.open(button, message, (choice) => this.#again("regenerate", message, choice));
      case "continue":
        return this.#again("continue", message);
      case "figures":
        return this.#thread.view(message.id)?.toggleFigures();
      case "previous":
      case "next":
        return this.#turn(message, action === "next" ? 1 : -1);
    }
  }

  /** As if the last answer's button were pressed. */
  #actOnLast(action) {
    const message = this.#conversation.last("assistant");
    const button = message && this.#thread.view(message.id)?.element.querySelector(`[data-do="${action}"]`);
    if (action === "figures" || (button && !button.hidden && !button.disabled)) {
      if (message) this.#act(action, message, button);
    }
  }

  #again(type, message, choice = {}) {
    if (this.#conversation.unfinished()) return this.#composer.note(translate("busy"));
    if (this.#questions.isAskedIn(this.#conversation)) return;
    this.#questions.again(type, this.#conversation, message, choice);
    this.#composer.note(this.#socket.isOpen ? "" : translate("sent_later"));
  }

  #turn(message, step) {
    const siblings = this.#conversation.siblings(message);
    const next = siblings[siblings.findIndex((m) => m.id === message.id) + step];
    if (!next) return;
    this.#conversation.show(next.id);
    this.#room.draw();
    const leaf = this.#conversation.branch().at(-1);
    post(`/conversations/${this.#room.id}/leaf/`, { message: leaf.id }).catch(() => {});
  }

  #escape(event) {
    if (event.target.id === "search" || document.querySelector(":popover-open")) return;
    if (this.#sidebar.close()) return;
    if (this.#composer.isEditing) this.#composer.cancelEdit();
    else this.#stop();
  }

  async #stop() {
    const { id } = this.#room;
    await this.#room.isReady;
    if (this.#room.id !== id) return;
    const answer = this.#conversation.unfinished();
    const live = answer && this.#answers.get(answer.request);
    if (!live || live.isStopping) return;
    if (!this.#questions.has(answer.request)) return this.#answers.stop(live);
    this.#takeBack(this.#questions.stop(answer.request, live));
    this.#thread.touch(live);
  }

  /** The text of a question that the site will not have goes back to where it was written. */
  #takeBack(asked) {
    if (asked?.text) this.#composer.giveBack(asked.conversation.id, asked.text);
    if (asked?.conversation === this.#conversation) this.#room.draw();
  }

  #editLast() {
    const last = this.#conversation.last("user");
    if (last) this.#composer.edit(last);
  }

  // --- what the site says ----------------------------------------------------------------------

  #take(frame) {
    switch (frame.type) {
      case "accepted":
        return this.#accepted(frame);
      case "phase":
        return this.#answers.phase(frame);
      case "delta":
        return this.#answers.delta(frame);
      case "ended":
        return this.#ended(frame);
      case "changed":
        return this.#changed(frame);
      case "error":
        return this.#refused(frame);
    }
  }

  #accepted({ client_id, conversation, messages }) {
    const asked = this.#questions.settle(client_id);
    this.#sidebar.put(conversation);
    const isHere = asked?.conversation === this.#conversation || conversation.id === this.#room.id;
    if (!isHere) return this.#acceptedElsewhere(asked, messages.at(-1));
    if (!this.#room.id) this.#room.becomes(conversation.id);
    this.#conversation.view = conversation;
    for (const message of messages) {
      this.#conversation.put(message);
      this.#answers.follow(message, asked);
    }
    const last = messages.at(-1);
    if (last) this.#conversation.show(last.id);
    const live = last && this.#answers.get(last.request);
    if (asked?.isToStop && live) this.#answers.stop(live);
    this.#room.draw();
    if (asked) this.#follow.jump();
  }

  /** The question was asked in a conversation that has been left since: it goes on unwatched. */
  #acceptedElsewhere(asked, answer) {
    if (!asked || !answer?.request) return;
    this.#socket.unfollow(answer.request);
    if (asked.isToStop) this.#socket.tell({ type: "stop", message: answer.id });
  }

  #ended({ request, message }) {
    this.#answers.ended(message, (stamps) => this.#addStamps(message.id, stamps));
    const known = this.#conversation.get(message.id);
    const isToldTwice = known?.state === "done" && known.request === request && known.figures;
    if (!isToldTwice) this.#room.update(message);
  }

  /** The browser's own stamps join the figures that the site has just given. */
  #addStamps(id, { first, last }) {
    const message = this.#conversation.get(id);
    if (message?.figures?.latency_ms == null) return;
    const delivery_ms = last - message.figures.latency_ms;
    const figures = { ...message.figures, user_ttft_ms: first, user_latency_ms: last, delivery_ms };
    this.#room.update({ ...message, figures });
  }

  #changed({ conversation, deleted, view }) {
    if (deleted) {
      this.#sidebar.remove(conversation);
      if (conversation === this.#room.id) this.#room.open(null);
      return;
    }
    this.#sidebar.put(view);
    if (conversation !== this.#room.id) return;
    this.#conversation.view = view;
    this.#room.draw();
  }

  #refused({ client_id, request, text }) {
    if (request) {
      this.#answers.forget(request); // an answer that isn't there any more
    } else {
      this.#takeBack(this.#questions.settle(client_id));
      this.#composer.note(text);
    }
  }

  /** The site won't take a frame of this size, however often it is sent. */
  #tooLarge({ client_id, conversation, text }) {
    const asked = this.#questions.settle(client_id);
    if (text) this.#composer.giveBack(conversation, text);
    if (asked?.conversation === this.#conversation) this.#room.draw();
    this.#composer.note(translate("too_large"));
  }

  /** After a gap whatever was missed is asked for: deltas by the socket, the rest here. */
  #connected(isOpen) {
    this.#connection.hidden = isOpen;
    this.#connection.textContent = isOpen ? "" : translate(navigator.onLine ? "reconnecting" : "offline");
    this.#answers.connected(isOpen);
    document.body.classList.toggle("connected", isOpen);
    if (!isOpen) return;
    if (this.#hasConnected) {
      this.#sidebar.reload();
      this.#room.refresh();
    }
    this.#hasConnected = true;
  }
}

function flash(button) {
  button?.classList.add("done");
  setTimeout(() => button?.classList.remove("done"), 1200);
}

new ChatPage();
