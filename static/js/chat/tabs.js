// The browser's windows of this site, told apart: each has an id of its own, which survives a
// reload, and says which stored texts it has before it. What no window holds is free to be taken.

import { newId } from "./browser.js";

const ID = "tab";
const IN_USE = "tab-in-use";
const ANSWER_MS = 400;

export class Tabs {
  id;
  /** @type {Set<string>} keys that this window holds */
  #held = new Set();
  #channel = new BroadcastChannel("tabs");
  /** @type {Set<string>} keys that others have said they hold since the last question */
  #heldElsewhere = new Set();

  constructor() {
    this.id = idOfThisTab();
    addEventListener("pagehide", () => sessionStorage.removeItem(IN_USE));
    addEventListener("pageshow", () => sessionStorage.setItem(IN_USE, "yes"));
    this.#channel.onmessage = ({ data }) => {
      if (data === "who?") this.#channel.postMessage([...this.#held]);
      else for (const key of data) this.#heldElsewhere.add(key);
    };
  }

  /** @param {string} key */
  hold(key) {
    this.#held.add(key);
  }

  /** @param {string} key */
  release(key) {
    this.#held.delete(key);
  }

  /** The keys that other windows hold, as far as they answer in time. */
  async heldElsewhere() {
    this.#heldElsewhere = new Set();
    this.#channel.postMessage("who?");
    await new Promise((done) => setTimeout(done, ANSWER_MS));
    return this.#heldElsewhere;
  }
}

/**
 * A window that was duplicated begins with a copy of the other one's session storage, and one that
 * crashed with what it left: both get a new id. A page that is left in order says so.
 */
function idOfThisTab() {
  let id = sessionStorage.getItem(ID);
  if (!id || sessionStorage.getItem(IN_USE)) sessionStorage.setItem(ID, (id = newId()));
  sessionStorage.setItem(IN_USE, "yes");
  return id;
}
