// The chat page: puts its parts together, and takes what a person does to the site. What the site
// sends is handed out by frame-receiver.js.

import { byId, part } from "../dom.js";
import { continueFrame, regenerateFrame, sendFrame } from "./asked-messages.js";
import { copyText } from "./browser.js";
import { Composer } from "./composer.js";
import { ConversationController } from "./conversation-controller.js";
import { Drafts } from "./drafts.js";
import { FrameReceiver } from "./frame-receiver.js";
import { Hit } from "./hit.js";
import { post } from "./http.js";
import { translate } from "./i18n.js";
import { Outbox } from "./outbox.js";
import { page } from "./page.js";
import { RegenerateMenu } from "./regenerate-menu.js";
import { ScrollFollower } from "./scroll-follower.js";
import { listenToSessionEnd } from "./session-end.js";
import { listenToShortcuts, showShortcuts } from "./shortcuts.js";
import { sendEarly } from "./send-early.js";
import { Sidebar } from "./sidebar.js";
import { ChatSocket } from "./socket.js";
import { Tabs } from "./tabs.js";
import { Thread } from "./thread.js";
import { UnfinishedAnswers } from "./unfinished-answers.js";

/** @typedef {import("./composer.js").Edited} Edited */
/** @typedef {import("./types.js").Action} Action */
/** @typedef {import("./types.js").Ask} Ask */
/** @typedef {import("./types.js").Message} Message */

class ChatPage {
  #hasConnected = false;
  /** @type {Promise<unknown>} */
  #leafTold = Promise.resolve();
  #connection = byId("connection");
  #scroll = new ScrollFollower(byId("scroller"), byId("to-end"));
  #tabs = new Tabs();
  #thread = new Thread(byId("thread"), this.#scroll, {
    act: (action, message, button) => this.#act(action, message, button),
    missing: (id) => this.#controller.fetchOlder(id),
  });
  #hit = new Hit(byId("scroller"), this.#thread);
  #menu = new RegenerateMenu(page);
  #composer = new Composer({
    drafts: new Drafts(page.user.name, this.#tabs),
    maxChars: page.limits.text_chars,
    on: {
      submit: () => this.#ask(),
      stop: () => this.#stop(),
      editLast: () => this.#editLast(),
      edits: (message) => this.#thread.markEdited(message),
    },
  });
  /** @type {Sidebar} */
  #sidebar = new Sidebar({
    open: (id, found) => {
      this.#hit.expect(found);
      this.#controller.open(id);
    },
    deleted: (id) => id === this.#controller.id && this.#controller.open(null),
    failed: () => this.#composer.note(translate("action_failed")),
  });
  #outbox = new Outbox(page.user.name, this.#tabs);
  #socket = new ChatSocket({
    onFrame: (frame) => this.#receiver.take(frame),
    onState: (isOpen) => this.#connected(isOpen),
    onTooBig: () => this.#receiver.tooBig(),
  });
  #answers = new UnfinishedAnswers({ outbox: this.#outbox, socket: this.#socket, thread: this.#thread });
  /** @type {ConversationController} */
  #controller = new ConversationController({
    thread: this.#thread,
    scroll: this.#scroll,
    composer: this.#composer,
    sidebar: this.#sidebar,
    answers: this.#answers,
    hit: this.#hit,
  });
  #receiver = new FrameReceiver({
    controller: this.#controller,
    answers: this.#answers,
    sidebar: this.#sidebar,
    composer: this.#composer,
    scroll: this.#scroll,
  });

  constructor() {
    listenToSessionEnd();
    for (const { conversation = null, text } of this.#outbox.outdated) {
      if (text) this.#composer.giveBack(conversation, text);
    }
    this.#outbox.forgetOutdated();
    addEventListener("popstate", () => this.#controller.follow(location.pathname));
    for (const link of [byId("new-chat"), part(document, ".head-new")]) {
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        this.#newChat();
      });
    }
    byId("model").addEventListener("change", () => this.#controller.showContext());
    byId("show-elsewhere").addEventListener("click", () => this.#receiver.showElsewhere());
    document.addEventListener("keydown", (event) => event.defaultPrevented || event.isComposing || this.#moveInThread(event));
    const onLast = (/** @type {Action} */ action) => () => this.#actOnLast(action);
    listenToShortcuts((event) => this.#escape(event), {
      KeyN: () => this.#newChat(),
      KeyK: () => this.#sidebar.focusSearch(),
      KeyB: () => this.#sidebar.toggle(),
      KeyT: () => this.#controller.id && this.#sidebar.rename(this.#controller.id),
      KeyX: () => this.#controller.id && this.#sidebar.delete(this.#controller.id),
      KeyC: onLast("copy"),
      KeyR: onLast("regenerate"),
      KeyP: onLast("choose-again"),
      KeyG: onLast("continue"),
      KeyW: onLast("figures"),
      KeyI: () => this.#inspectLast(),
      Comma: onLast("previous"),
      Period: onLast("next"),
      End: () => this.#scroll.jump(),
      Slash: showShortcuts,
    });
    this.#hit.expectFromAddress(page.conversation);
    this.#controller.open(page.conversation, false);
    this.#answers.adopt(() => this.#conversation, () => this.#controller.draw());
  }

  // --- what a person does ----------------------------------------------------------------------

  get #conversation() {
    return this.#controller.conversation;
  }

  #newChat() {
    this.#sidebar.close();
    this.#controller.open(null);
    this.#composer.focus();
  }

  /** The text stays in the composer until the outbox has it. */
  async #ask() {
    const { isReady } = this.#controller;
    this.#composer.hold(true);
    const isLoaded = await isReady;
    if (this.#controller.isReady !== isReady) return; // another was chosen meanwhile
    this.#composer.hold(false);
    if (!isLoaded) return this.#composer.note(translate("load_failed"));
    const { text, editing } = this.#composer; // with what a refusal has brought back since the key
    const parent = editing ? editing.parent : (this.#conversation.branch().at(-1)?.id ?? null);
    const frame = sendFrame(this.#conversation, { parent, text, choice: this.#composer.choice });
    if (this.#send(frame, editing)) this.#composer.sent();
  }

  /**
   * Ask it in the open conversation. False when an answer is still being made there.
   * @param {Ask} frame
   * @param {Edited | null} editing
   */
  #send(frame, editing = null) {
    const isFree = !this.#conversation.unfinished();
    this.#composer.note(isFree ? "" : translate("busy"));
    if (!isFree) return false;
    this.#answers.ask(frame, this.#conversation, editing);
    this.#controller.draw();
    this.#scroll.jump();
    return true;
  }

  /**
   * @param {Action} action
   * @param {Message} message
   * @param {HTMLElement} button
   */
  #act(action, message, button) {
    switch (action) {
      case "copy":
        return copyText(message.text).then(() => flash(button), () => this.#composer.note(translate("action_failed")));
      case "edit":
        return this.#composer.edit(message);
      case "regenerate":
        return this.#send(regenerateFrame(message, this.#composer.choice));
      case "choose-again":
        return this.#menu.open(button, message, (choice) => this.#send(regenerateFrame(message, choice)));
      case "continue":
        return this.#send(continueFrame(message));
      case "figures":
        return this.#thread.view(message.id)?.toggleFigures();
      case "previous":
      case "next":
        return this.#turn(message, action === "next" ? 1 : -1);
    }
  }

  /**
   * As if the last answer's button were pressed.
   * @param {Action} action
   */
  async #actOnLast(action) {
    if (!(await this.#isLoaded())) return;
    const message = this.#conversation.last("assistant");
    const view = message && this.#thread.view(message.id);
    if (!message || !view) return;
    if (action === "figures") return this.#act(action, message, view.element);
    const button = part(view.element, `[data-do="${action}"]`, HTMLButtonElement);
    if (!button.hidden && !button.disabled) this.#act(action, message, button);
  }

  #inspectLast() {
    const message = this.#conversation.last("assistant");
    const view = message && this.#thread.view(message.id);
    const link = view && part(view.element, "[data-inspect]", HTMLAnchorElement);
    if (link && !link.hidden) link.click();
  }

  /**
   * @param {Message} message
   * @param {1 | -1} step
   */
  #turn(message, step) {
    const siblings = this.#conversation.siblings(message);
    const next = siblings[siblings.findIndex((m) => m.id === message.id) + step];
    if (!next) return;
    this.#conversation.show(next.id);
    this.#receiver.forgetElsewhere();
    this.#controller.draw();
    const leaf = this.#conversation.branch().at(-1);
    const { id } = this.#controller;
    if (!leaf || !id) return;
    const tell = () => post(`/conversations/${id}/leaf/`, { message: leaf.id }).catch(() => {});
    this.#leafTold = this.#leafTold.then(tell); // one after the other: the last one holds
  }

  /** @param {KeyboardEvent} event */
  #escape(event) {
    if (event.target === byId("search") || document.querySelector(":popover-open")) return;
    if (this.#sidebar.close()) return;
    if (this.#leaveThread(event)) return;
    if (this.#composer.isEditing) this.#composer.cancelEdit();
    else this.#stop();
  }

  async #stop() {
    if (!(await this.#isLoaded())) return;
    const answer = this.#answers.get(this.#conversation.unfinished()?.request ?? null);
    if (answer && !answer.isStopping) this.#controller.takeBack(this.#answers.stop(answer, this.#conversation));
  }

  /**
   * Esc leads from a tool to its message, and from there to the composer.
   * @param {KeyboardEvent} event
   */
  #leaveThread({ target }) {
    const message = target instanceof Element ? target.closest(".message") : null;
    if (!(message instanceof HTMLElement) || document.body.classList.contains("writing")) return false;
    if (target === message) byId("text").focus();
    else message.focus();
    return true;
  }

  /**
   * ↑ and ↓ go from message to message, Enter to a message's tools; "/" to the composer.
   * @param {KeyboardEvent} event
   */
  #moveInThread(event) {
    const { target, key } = event;
    if (!(target instanceof HTMLElement) || event.altKey || event.ctrlKey || event.metaKey) return;
    const isField = target.matches("input, textarea, select, [contenteditable]");
    const isMessage = target.matches(".message");
    if (key === "/" && !isField) byId("text").focus();
    else if (isMessage && key === "ArrowUp") this.#thread.focusMessage(-1);
    else if (isMessage && key === "ArrowDown") this.#thread.focusMessage(1);
    else if (isMessage && key === "Enter") {
      /** @type {HTMLElement | undefined} */ ([...target.querySelectorAll(".tools button")].find((tool) => tool.checkVisibility()))?.focus();
    } else if (target === byId("text") && !this.#composer.text && (key === "PageUp" || key === "PageDown")) {
      byId("scroller").scrollBy({ top: (key === "PageUp" ? -0.9 : 0.9) * byId("scroller").clientHeight });
    } else return;
    event.preventDefault();
  }

  async #editLast() {
    if (!(await this.#isLoaded()) || this.#composer.text || this.#composer.isEditing) return;
    const last = this.#conversation.last("user");
    if (last) this.#composer.edit(last);
  }

  /** Wait for the open conversation's messages: a key may come before they do. False: they can't be had, or another has been opened. */
  async #isLoaded() {
    const { isReady } = this.#controller;
    return (await isReady) && this.#controller.isReady === isReady;
  }

  // --- the connection --------------------------------------------------------------------------

  /**
   * After a gap whatever was missed is asked for: answers over the socket, the rest here.
   * @param {boolean} isOpen
   */
  #connected(isOpen) {
    this.#connection.hidden = isOpen;
    this.#connection.textContent = isOpen ? "" : translate(navigator.onLine ? "reconnecting" : "offline");
    this.#answers.connected(isOpen);
    document.body.classList.toggle("connected", isOpen);
    if (!isOpen) return;
    if (this.#hasConnected) {
      this.#sidebar.reload();
      this.#controller.refresh();
    }
    this.#hasConnected = true;
  }
}

/** @param {HTMLElement} button */
function flash(button) {
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1200);
}

new ChatPage();
sendEarly();
