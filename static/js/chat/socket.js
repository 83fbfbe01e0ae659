// The tab's one socket. Reconnects by itself, sends again what was not accepted, and goes on
// following answers from the token the page has.

const RETRY_MS = [300, 600, 1200, 2500, 5000, 8000];
const PING_MS = 15_000;
const SILENCE_MS = 40_000;
const SIGNED_OUT = 4401;

export class ChatSocket {
  #socket = null;
  #tries = 0;
  #unaccepted = new Map(); // client_id → frame
  #followed = new Map(); // request → () => tokens the page has
  #heardAt = 0;
  #version;
  #onFrame;
  #onState;

  /** `onFrame(frame)` gets every frame; `onState(isOpen)` each change of the connection. */
  constructor({ version, onFrame, onState }) {
    this.#version = version;
    this.#onFrame = onFrame;
    this.#onState = onState;
    setInterval(() => this.#check(), PING_MS);
    addEventListener("online", () => this.#reconnectNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#check());
    this.#open();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Send a frame that must not be lost: again after a reconnect, until accepted or refused. */
  ask(frame) {
    this.#unaccepted.set(frame.client_id, frame);
    this.#write(frame);
  }

  /** Send a frame that is worth nothing later. False when there is no connection. */
  tell(frame) {
    return this.#write(frame);
  }

  /** Follow a request's tokens; `position()` says how many the page has. */
  follow(request, position) {
    const known = this.#followed.has(request);
    this.#followed.set(request, position);
    if (!known) this.#write({ type: "watch", request, position: position() });
  }

  /** As `follow` for an answer that this socket's own frame started: it is streamed already. */
  expect(request, position) {
    this.#followed.set(request, position);
  }

  unfollow(request) {
    if (this.#followed.delete(request)) this.#write({ type: "unwatch", request });
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = (this.#socket = new WebSocket(`${scheme}://${location.host}/ws/chat/`));
    this.#heardAt = Date.now();
    socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.#socket && this.#closed(event.code);
  }

  #take(frame) {
    this.#heardAt = Date.now();
    if (frame.type === "welcome") return this.#welcomed(frame);
    if (frame.client_id) this.#unaccepted.delete(frame.client_id);
    if (frame.type === "ended") this.#followed.delete(frame.request);
    this.#onFrame(frame);
  }

  #welcomed(frame) {
    if (frame.version !== this.#version) {
      if (sessionStorage.getItem("reloaded-for") === String(frame.version)) return;
      sessionStorage.setItem("reloaded-for", String(frame.version));
      location.reload();
      return;
    }
    this.#tries = 0;
    this.#onState(true);
    for (const frame of this.#unaccepted.values()) this.#write(frame);
    for (const [request, position] of this.#followed) {
      this.#write({ type: "watch", request, position: position() });
    }
  }

  #closed(code) {
    this.#socket = null;
    if (code === SIGNED_OUT) return location.assign(`/accounts/sign-in/?next=${location.pathname}`);
    this.#onState(false);
    const wait = RETRY_MS[Math.min(this.#tries++, RETRY_MS.length - 1)];
    setTimeout(() => this.#socket ?? this.#open(), wait * (0.8 + 0.4 * Math.random()));
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
