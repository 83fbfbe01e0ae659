// Opens a conversation at the message that a search has found, and marks the words in it.
//
// The words are painted by the browser's own highlights: no node of the message is touched.

/** @typedef {{ conversation: string, message: string, words: string }} Found */

const SINGLE = "\\p{sc=Han}\\p{sc=Hira}\\p{sc=Kana}\\p{sc=Hang}\\p{sc=Thai}\\p{sc=Laoo}\\p{sc=Khmr}\\p{sc=Mymr}";
const STARTS_SINGLE = new RegExp(`^[${SINGLE}]`, "u");
const ENDS_SINGLE = new RegExp(`[${SINGLE}]$`, "u");
const ACCENTS = /[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u00ad\u200b-\u200f]/gu;
/** @type {Record<string, string>} */
const LETTERS = { ß: "ss", æ: "ae", œ: "oe", ø: "o", ł: "l", đ: "d", ð: "d", ı: "i", ς: "σ" };
const FLASH_MS = 1600;

export class Hit {
  #scroller;
  #thread;
  /** @type {Found | null} */
  #expected = null;
  /** @type {MutationObserver | null} the message on show is drawn anew when more of it is known */
  #redrawn = null;

  /**
   * @param {HTMLElement} scroller
   * @param {import("./thread.js").Thread} thread
   */
  constructor(scroller, thread) {
    this.#scroller = scroller;
    this.#thread = thread;
  }

  /**
   * The next conversation that opens is to be shown at this message.
   * @param {Found | null} found
   */
  expect(found) {
    this.#expected = found;
    this.#redrawn?.disconnect();
    CSS.highlights?.delete("hit");
  }

  /**
   * What the page's address asks for; the history page links so. It is told to nobody else.
   * @param {string | null} conversation
   */
  expectFromAddress(conversation) {
    const asked = new URLSearchParams(location.hash.slice(1));
    const message = asked.get("message");
    if (!message || !conversation) return;
    history.replaceState(null, "", location.pathname);
    this.expect({ conversation, message, words: asked.get("words") ?? "" });
  }

  /**
   * Show the expected message in this conversation, if it is in there; false when it isn't.
   * @param {import("./conversation-controller.js").ConversationController} controller
   */
  show(controller) {
    const found = this.#expected;
    this.#expected = null;
    if (!found || controller.id !== found.conversation || !controller.conversation.get(found.message)) return false;
    controller.conversation.show(found.message);
    controller.draw();
    const element = this.#thread.reveal(found.message)?.element;
    if (!element) return false;
    element.scrollIntoView({ block: "start" });
    element.classList.add("is-hit");
    setTimeout(() => element.classList.remove("is-hit"), FLASH_MS);
    // Messages out of sight have no layout yet: what was above has its true height a frame later.
    requestAnimationFrame(() => requestAnimationFrame(() => this.#mark(element, found.words)));
    return true;
  }

  /**
   * @param {HTMLElement} element
   * @param {string} words
   */
  #mark(element, words) {
    const content = element.querySelector(".content") ?? element;
    const pattern = patternOf(words);
    const ranges = highlight(content, pattern);
    this.#redrawn = new MutationObserver(() => highlight(content, pattern));
    this.#redrawn.observe(content, { childList: true, characterData: true, subtree: true });
    const { top, height } = this.#scroller.getBoundingClientRect();
    const at = (ranges[0] ?? element).getBoundingClientRect().top;
    this.#scroller.scrollBy({ top: at - top - height / 3, behavior: "instant" });
  }
}

/**
 * @param {Element} content
 * @param {RegExp | null} pattern
 */
function highlight(content, pattern) {
  const ranges = rangesIn(content, pattern);
  CSS.highlights?.set("hit", new Highlight(...ranges));
  return ranges;
}

/**
 * A pattern for folded text that finds the words of a search; null when it has none.
 * @param {string} search
 */
export function patternOf(search) {
  /** @type {string[]} */
  const parts = [];
  for (const [, operator, quoted, bare = ""] of search.matchAll(/(?:([a-z]{2,20}):(?=[^\s/\\:]))?(?:"([^"]*)"|(\S+))/giu)) {
    if (operator) continue;
    const words = fold(quoted ?? bare).match(/[\p{L}\p{N}\p{M}]+/gu) ?? [];
    if (!words.length) continue;
    const start = STARTS_SINGLE.test(words[0] ?? "") ? "" : "(?<![\\p{L}\\p{N}])";
    const end = quoted === undefined || ENDS_SINGLE.test(words.at(-1) ?? "") ? "" : "(?![\\p{L}\\p{N}])";
    parts.push(start + words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[^\\p{L}\\p{N}]*") + end);
  }
  return parts.length ? new RegExp(parts.join("|"), "gu") : null;
}

/**
 * The text without case, accents and width, as chatsite/chat/search_text.py folds it.
 * @param {string} text
 */
export function fold(text) {
  const plain = text.normalize("NFKC").toLowerCase().normalize("NFKD").replace(ACCENTS, "");
  return plain.replace(/[ßæœøłđðıς]/gu, (letter) => LETTERS[letter] ?? letter).normalize("NFC");
}

/**
 * Where the pattern is found in the text below this element.
 * @param {Element} root
 * @param {RegExp | null} pattern
 */
function rangesIn(root, pattern) {
  if (!pattern) return [];
  /** @type {{ node: Text, start: number, end: number }[]} of each folded character */
  const origins = [];
  let folded = "";
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!(node instanceof Text)) continue;
    for (const { 0: cluster, index } of node.data.matchAll(/[^]\p{M}*/gu)) {
      const piece = fold(cluster);
      for (let at = 0; at < piece.length; at++) origins.push({ node, start: index, end: index + cluster.length });
      folded += piece;
    }
  }
  return [...folded.matchAll(pattern)].flatMap(({ 0: text, index }) => {
    const first = origins[index];
    const last = origins[index + text.length - 1];
    if (!first || !last) return [];
    const range = new Range();
    range.setStart(first.node, first.start);
    range.setEnd(last.node, last.end);
    return [range];
  });
}
