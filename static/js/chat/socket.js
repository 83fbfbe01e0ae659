// The tab's one socket: reconnects by itself, and notices a connection that has died silently.

import { page } from "./page.js";
import { tellSignedOut } from "./session-end.js";

/** @typedef {import("./types.js").Incoming} Incoming */
/** @typedef {import("./types.js").Outgoing} Outgoing */

const RETRY_MS = [300, 600, 1200, 2500, 5000, 8000];
const PING_MS = 15_000;
const SILENCE_MS = 40_000;
const RELOADED_FOR = "reloaded-for";

export class ChatSocket {
  /** @type {WebSocket | null} */
  #socket = null;
  #isWelcome = false;
  #isSignedOut = false;
  #isDoubted = false; // the browser says that it is offline; a frame shows that the site is near
  #tries = 0;
  #heardAt = 0;
  #onFrame;
  #onState;
  #onTooBig;

  /**
   * `onFrame` gets every frame, `onState` each change of the connection, and `onTooBig` is called
   * when the site has closed the socket on a frame that it would not read.
   * @param {{ onFrame: (frame: Outgoing) => void, onState: (isOpen: boolean) => void, onTooBig: () => void }} on
   */
  constructor({ onFrame, onState, onTooBig }) {
    this.#onFrame = onFrame;
    this.#onState = onState;
    this.#onTooBig = onTooBig;
    setInterval(() => this.#check(), PING_MS);
    addEventListener("online", () => this.#reconnectNow());
    addEventListener("offline", () => this.#doubt());
    document.addEventListener("visibilitychange", () => document.hidden || this.#check());
    this.#open();
  }

  /** Whether the site has said welcome and the connection stands. */
  get isOpen() {
    return this.#isWelcome && !this.#isDoubted && this.#socket?.readyState === WebSocket.OPEN;
  }

  /**
   * Send a frame. False when there is no connection.
   * @param {Incoming} frame
   */
  send(frame) {
    if (!this.#socket || !this.isOpen) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/chat/`);
    this.#socket = socket;
    this.#isWelcome = false;
    this.#heardAt = Date.now();
    socket.onmessage = (event) => socket === this.#socket && this.#take(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.#socket && this.#closed(event.code);
  }

  /** @param {Outgoing} frame */
  #take(frame) {
    this.#heardAt = Date.now();
    if (this.#isDoubted && this.#isWelcome) {
      this.#isDoubted = false;
      this.#onState(true);
    }
    if (frame.type === "welcome") this.#welcomed(frame.version);
    this.#onFrame(frame);
  }

  #doubt() {
    if (!this.isOpen) return;
    this.#isDoubted = true;
    this.#onState(false);
    this.#socket?.send(JSON.stringify({ type: "ping" }));
  }

  /** @param {number} version */
  #welcomed(version) {
    if (version !== page.version && sessionStorage.getItem(RELOADED_FOR) !== String(version)) {
      sessionStorage.setItem(RELOADED_FOR, String(version));
      location.reload();
      return;
    }
    this.#tries = 0;
    this.#isDoubted = false;
    this.#isWelcome = true;
    this.#onState(true);
  }

  /** @param {number} code */
  #closed(code) {
    this.#socket = null;
    this.#onState(false);
    if (code === page.close_codes.signed_out) {
      this.#isSignedOut = true; // no further try: it would be refused until somebody signs in
      tellSignedOut();
      return;
    }
    if (code === page.close_codes.frame_too_big) this.#onTooBig();
    const wait = RETRY_MS[Math.min(this.#tries++, RETRY_MS.length - 1)];
    setTimeout(() => this.#socket ?? this.#open(), wait * (0.8 + 0.4 * Math.random()));
  }

  #check() {
    if (Date.now() - this.#heardAt > SILENCE_MS) this.#reconnectNow();
    else this.send({ type: "ping" });
  }

  #reconnectNow() {
    if (this.#isSignedOut) return;
    const old = this.#socket;
    this.#socket = null;
    old?.close();
    this.#open();
  }
}
