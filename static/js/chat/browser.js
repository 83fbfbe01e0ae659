// What browsers withhold from pages without TLS, done by other means: a chat on a home network
// is often plain http.

/** A random UUID. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * Put text on the clipboard.
 * @param {string} text
 */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/**
 * Call `then(now)` when the frame that is being drawn is on its way to the screen.
 * @param {(now: number) => void} then
 */
export function afterFrame(then) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    then(performance.now());
  };
  port2.postMessage(null);
}

/**
 * As `afterFrame`, from outside a frame: for the next one.
 * @param {(now: number) => void} then
 */
export function afterPaint(then) {
  requestAnimationFrame(() => afterFrame(then));
}

/**
 * How many code points a text has: what the site counts in.
 * @param {string} text
 */
export function codePointsOf(text) {
  let points = 0;
  for (const _ of text) points++;
  return points;
}
