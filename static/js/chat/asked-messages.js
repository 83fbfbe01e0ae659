// What a conversation looks like at once when something is asked in it. The ids are the ones that
// the site will store, so that a message stays the same element when the site has accepted it.

import { newId } from "./browser.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./types.js").Ask} Ask */
/** @typedef {import("./types.js").Choice} Choice */
/** @typedef {import("./types.js").Message} Message */

/**
 * The frame that asks `text` behind the message `parent`.
 * @param {Conversation} conversation
 * @param {{ parent: string | null, text: string, choice: Choice }} asked
 * @returns {import("./types.js").Send}
 */
export function sendFrame(conversation, { parent, text, choice }) {
  return {
    type: "send",
    question: newId(),
    answer: newId(),
    request: newId(),
    conversation: conversation.id,
    parent,
    text: text.toWellFormed?.() ?? text,
    ...choice,
  };
}

/**
 * The frame that asks for one more version of an answer.
 * @param {Message} message
 * @param {Choice} choice
 * @returns {import("./types.js").Regenerate}
 */
export const regenerateFrame = (message, { model, preset }) => ({
  type: "regenerate",
  answer: newId(),
  request: newId(),
  message: message.id,
  model,
  preset,
});

/**
 * The frame that asks for more of an answer.
 * @param {Message} message
 * @returns {import("./types.js").Continue}
 */
export const continueFrame = (message) => ({ type: "continue", request: newId(), message: message.id });

/**
 * The answer that the frame asks for.
 * @param {Ask} frame
 */
const answerOf = (frame) => (frame.type === "continue" ? frame.message : frame.answer);

/**
 * Whether the frame asks in this conversation.
 * @param {Ask} frame
 * @param {Conversation} conversation
 */
export function isAskedIn(frame, conversation) {
  if (frame.type === "send") return frame.conversation === conversation.id;
  return conversation.get(frame.message) !== undefined;
}

/**
 * Put what the frame asks for into the conversation. Returns the answer as it is shown from now on,
 * or null when the conversation has it from the site already.
 * @param {Ask} frame
 * @param {Conversation} conversation
 * @returns {Message | null}
 */
export function showAsked(frame, conversation) {
  const known = conversation.get(answerOf(frame));
  if (known?.request === frame.request) return known.state === "sending" ? known : null;
  if (frame.type === "send") {
    conversation.put({ ...EMPTY, id: frame.question, parent: frame.parent, role: "user", text: frame.text, state: "done", created_at: now() });
  }
  const common = { request: frame.request, state: /** @type {const} */ ("sending"), finish_reason: /** @type {const} */ ("") };
  if (frame.type === "continue") {
    if (known) conversation.replace({ ...known, ...common });
  } else {
    const parent = frame.type === "send" ? frame.question : (conversation.get(frame.message)?.parent ?? null);
    const { model, preset } = frame;
    conversation.put({ ...EMPTY, ...common, id: frame.answer, parent, model, preset, created_at: now() });
  }
  return conversation.get(answerOf(frame)) ?? null;
}

/**
 * Take out again what the frame put in: it is refused, or not wanted any more.
 * @param {Ask} frame
 * @param {Conversation} conversation
 */
export function hideAsked(frame, conversation) {
  if (frame.type === "continue") {
    const known = conversation.get(frame.message);
    if (known?.request === frame.request) conversation.restore(frame.message);
    return;
  }
  conversation.remove(frame.answer);
  if (frame.type === "send") conversation.remove(frame.question);
}

const now = () => new Date().toISOString();

/** @type {Omit<Message, "id" | "parent" | "created_at">} */
const EMPTY = {
  role: "assistant",
  text: "",
  state: "sending",
  finish_reason: "",
  error_code: "",
  error_text: "",
  request: null,
  position: 0,
  model: "",
  preset: "",
  trimmed_messages: 0,
  figures: null,
};
