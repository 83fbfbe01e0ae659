// Keeps the end of the thread in view, but only while the reader is there.

const NEAR_PX = 48;

export class FollowEnd {
  #scroller;
  #button;
  #isAtEnd = true;

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
    else this.#look();
  }

  jump() {
    this.#isAtEnd = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#look();
  }

  #look() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    this.#isAtEnd = scrollHeight - clientHeight - scrollTop < NEAR_PX;
    this.#button.hidden = this.#isAtEnd;
  }
}
