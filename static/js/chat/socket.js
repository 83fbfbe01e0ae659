// The tab's one socket. Reconnects by itself, sends again what was not accepted, and goes on
// following answers from the token the page has.

const RETRY_MS = [300, 600, 1200, 2500, 5000, 8000];
const PING_MS = 15_000;
const SILENCE_MS = 40_000;
const SIGNED_OUT = 4401;
const NOT_TAKEN = [1009, 4403]; // too large, and of a kind that the site doesn't take
const RELOADED_FOR = "reloaded-for";

export class ChatSocket {
  #socket = null;
  #tries = 0;
  #outbox;
  #followed = new Map(); // request → () => tokens the page has
  #heardAt = 0;
  #version;
  #onFrame;
  #onState;
  #onTooLarge;

  /**
   * `onFrame(frame)` gets every frame, `onState(isOpen)` each change of the connection, and
   * `onTooLarge(frame)` a frame of the outbox that the site won't take.
   */
  constructor({ version, outbox, onFrame, onState, onTooLarge }) {
    this.#version = version;
    this.#outbox = outbox;
    this.#onFrame = onFrame;
    this.#onState = onState;
    this.#onTooLarge = onTooLarge;
    setInterval(() => this.#check(), PING_MS);
    addEventListener("online", () => this.#reconnectNow());
    addEventListener("offline", () => this.#onState(false));
    document.addEventListener("visibilitychange", () => document.hidden || this.#check());
    this.#open();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Send a frame that must not be lost: again after a reconnect, until accepted or refused. */
  ask(frame) {
    this.#outbox.put(frame);
    this.#write(frame);
  }

  /** Take back a frame that was never sent. */
  withdraw(clientId) {
    this.#outbox.remove(clientId);
  }

  /** Send a frame that is worth nothing later. False when there is no connection. */
  tell(frame) {
    return this.#write(frame);
  }

  /** Follow a request's tokens; `position()` says how many the page has. */
  follow(request, position) {
    const isKnown = this.#followed.has(request);
    this.#followed.set(request, position);
    if (!isKnown) this.#write({ type: "watch", request, position: position() });
  }

  /** As `follow` for an answer that this socket's own frame started: it is streamed already. */
  expect(request, position) {
    this.#followed.set(request, position);
  }

  unfollow(request) {
    this.#followed.delete(request);
    this.#write({ type: "unwatch", request });
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = (this.#socket = new WebSocket(`${scheme}://${location.host}/ws/chat/`));
    this.#heardAt = Date.now();
    socket.onmessage = (event) => socket === this.#socket && this.#take(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.#socket && this.#closed(event.code);
  }

  #take(frame) {
    this.#heardAt = Date.now();
    if (frame.type === "welcome") return this.#welcomed(frame);
    if (frame.client_id) this.#outbox.remove(frame.client_id);
    if (frame.type === "ended") this.#followed.delete(frame.request);
    this.#onFrame(frame);
  }

  #welcomed({ version }) {
    if (version !== this.#version && sessionStorage.getItem(RELOADED_FOR) !== String(version)) {
      sessionStorage.setItem(RELOADED_FOR, String(version));
      location.reload();
      return;
    }
    this.#tries = 0;
    for (const frame of this.#outbox.frames) this.#write(frame);
    for (const [request, position] of this.#followed) {
      this.#write({ type: "watch", request, position: position() });
    }
    this.#onState(true);
  }

  #closed(code) {
    this.#socket = null;
    this.#onState(false);
    if (code === SIGNED_OUT) {
      location.assign(`/accounts/sign-in/?next=${encodeURIComponent(location.pathname)}`);
      return;
    }
    if (NOT_TAKEN.includes(code)) this.#dropLargest();
    const wait = RETRY_MS[Math.min(this.#tries++, RETRY_MS.length - 1)];
    setTimeout(() => this.#socket ?? this.#open(), wait * (0.8 + 0.4 * Math.random()));
  }

  /** The code names no frame. Sent again, the same one would close every further socket. */
  #dropLargest() {
    const size = (frame) => JSON.stringify(frame).length;
    const [largest] = this.#outbox.frames.sort((a, b) => size(b) - size(a));
    if (!largest) return;
    this.#outbox.remove(largest.client_id);
    this.#onTooLarge(largest);
  }

  #check() {
    if (Date.now() - this.#heardAt > SILENCE_MS) this.#reconnectNow();
    else this.#write({ type: "ping" });
  }

  #reconnectNow() {
    const old = this.#socket;
    this.#socket = null;
    old?.close();
    this.#open();
  }

  #write(frame) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }
}
