// What was asked and is not stored yet: shown at once, sent when there is a connection, and taken
// back into the composer when it is refused or not wanted any more.

import { newId } from "./browser.js";

export class PendingMessages {
  #asked = new Map(); // client_id → {conversation, sentAt, temporary, text}
  #outbox;
  #socket;
  #answers;

  constructor({ outbox, socket, answers }) {
    this.#outbox = outbox;
    this.#socket = socket;
    this.#answers = answers;
  }

  /** Ask in `conversation` behind `parent`; the question is shown with an answer to come. */
  send(conversation, { parent, text, choice }) {
    const frame = {
      type: "send",
      client_id: newId(),
      conversation: conversation.id,
      parent,
      text: text.toWellFormed?.() ?? text,
      ...choice,
    };
    this.#show(conversation, frame, performance.now());
    this.#socket.ask(frame);
  }

  /** Ask for one more version of an answer (`regenerate`), or for more of it (`continue`). */
  again(type, conversation, message, choice) {
    const client_id = newId();
    this.#asked.set(client_id, { conversation, sentAt: performance.now() });
    this.#socket.ask({ type, client_id, message: message.id, ...choice });
  }

  isAskedIn(conversation) {
    return [...this.#asked.values()].some((asked) => asked.conversation === conversation);
  }

  /** Show the questions of this conversation that wait for the connection, also since a reload. */
  showWaiting(conversation) {
    if (this.#socket.isOpen) return;
    for (const frame of this.#outbox.frames) {
      if (frame.type === "send" && frame.conversation === conversation.id) this.#show(conversation, frame, null);
    }
  }

  /** The site has stored or refused it: gives {conversation, sentAt, text}, and hides what was shown. */
  settle(clientId) {
    const asked = this.#asked.get(clientId);
    if (!asked) return undefined;
    this.#asked.delete(clientId);
    for (const id of asked.temporary ?? []) asked.conversation.remove(id);
    this.#answers.forget(clientId);
    return asked;
  }

  /**
   * It is not wanted any more. Not sent yet: as `settle`. On its way: it will be stopped when the
   * site has it, and nothing is given. `live` is its answer.
   */
  stop(clientId, live) {
    const asked = this.#asked.get(clientId);
    if (!asked) return undefined;
    if (!this.#socket.isOpen) {
      this.#socket.withdraw(clientId);
      return this.settle(clientId);
    }
    asked.isToStop = true;
    live.stop();
    return undefined;
  }

  has(clientId) {
    return this.#asked.has(clientId);
  }

  #show(conversation, { client_id, parent, text }, sentAt) {
    const common = {
      created_at: new Date().toISOString(),
      position: 0,
      finish_reason: "",
      trimmed_messages: 0,
      figures: null,
    };
    const question = { ...common, id: client_id, parent, role: "user", text, state: "done" };
    const id = `${client_id}-answer`;
    const answer = { ...common, id, parent: client_id, role: "assistant", text: "", state: "sending", request: client_id };
    for (const message of [question, answer]) conversation.put(message);
    this.#answers.expect(answer);
    this.#asked.set(client_id, { conversation, sentAt, text, temporary: [question.id, answer.id] });
  }
}
