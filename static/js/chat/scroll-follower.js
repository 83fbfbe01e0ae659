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
