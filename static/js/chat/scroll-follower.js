// Keeps the end of the thread in view, but only while the reader is there.

const NEAR_PX = 48;

export class ScrollFollower {
  #scroller;
  #button;
  #isAtEnd = true;
  #last = { top: 0, height: 0 };

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} button jumps to the end
   */
  constructor(scroller, button) {
    this.#scroller = scroller;
    this.#button = button;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    button.addEventListener("click", () => this.jump());
    const sizes = new ResizeObserver(() => this.grown());
    for (const element of [scroller, ...scroller.children]) sizes.observe(element);
  }

  get isAtEnd() {
    return this.#isAtEnd;
  }

  get top() {
    return this.#scroller.scrollTop;
  }

  get height() {
    return this.#scroller.clientHeight;
  }

  /**
   * Say whether the content is still being fetched.
   * @param {boolean} isBusy
   */
  setBusy(isBusy) {
    this.#scroller.setAttribute("aria-busy", String(isBusy));
  }

  /**
   * Stay with what is in view: what lies above it has grown by so much.
   * @param {number} px
   */
  shift(px) {
    if (this.#isAtEnd || Math.abs(px) < 1) return;
    this.#scroller.scrollTop += px;
    this.#last = { top: this.#scroller.scrollTop, height: this.#scroller.scrollHeight };
  }

  /**
   * Leave the end, for another place.
   * @param {number} top
   */
  moveTo(top) {
    this.#isAtEnd = false;
    this.#scroller.scrollTop = top;
    this.#last = { top: this.#scroller.scrollTop, height: this.#scroller.scrollHeight };
  }

  /** @param {() => void} then called after the reader has scrolled */
  onScroll(then) {
    this.#scroller.addEventListener("scroll", then, { passive: true });
  }

  /** Call after the content changed: the end stays in view if it was. */
  grown() {
    if (this.#isAtEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#look();
  }

  jump() {
    this.#isAtEnd = true;
    this.grown();
  }

  /** A reader who scrolls up, however little, has left the end; near it he has come back. */
  #look() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    const wentUp = scrollTop < this.#last.top - 1 && scrollHeight >= this.#last.height;
    const distance = scrollHeight - clientHeight - scrollTop;
    this.#isAtEnd = distance < (wentUp ? 2 : NEAR_PX) && (this.#isAtEnd || !wentUp);
    this.#last = { top: scrollTop, height: scrollHeight };
    this.#button.hidden = distance < NEAR_PX;
  }
}
