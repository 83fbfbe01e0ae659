// Which messages of a long thread have nodes: those in view and some screens around. Spacers stand
// for the others, with the heights that they had or, until they were shown, the usual one.

/** @typedef {import("./types.js").Message} Message */

const WHOLE = 60; // messages that are shown without a window: the browser's own search finds all
const AROUND_PX = 1200;
const USUAL_PX = 160;

export class ThreadWindow {
  #root;
  #scroll;
  #above = spacer();
  #below = spacer();
  /** @type {Map<string, number>} by message */
  #heights = new Map();
  /** @type {Message[]} */
  #branch = [];
  #first = 0;
  #last = 0;

  /**
   * @param {HTMLElement} root
   * @param {import("./scroll-follower.js").ScrollFollower} scroll
   */
  constructor(root, scroll) {
    this.#root = root;
    this.#scroll = scroll;
    root.append(this.#above, this.#below);
  }

  /**
   * The messages that are to have nodes, from `first` up to before `last`.
   * @param {Message[]} branch
   */
  choose(branch) {
    this.#measure();
    this.#branch = branch;
    if (branch.length <= WHOLE) [this.#first, this.#last] = [0, branch.length];
    else [this.#first, this.#last] = this.#around(AROUND_PX);
    return { first: this.#first, last: this.#last };
  }

  /**
   * Where a message of the branch begins, as far as heights are known.
   * @param {number} index
   */
  topOf(index) {
    return this.#sum(0, index);
  }

  /** Whether the reader has come so near to an end of the window that it must move. */
  isLeft() {
    if (this.#branch.length <= WHOLE) return false;
    const [first, last] = this.#around(AROUND_PX / 2);
    return first < this.#first || last > this.#last;
  }

  /**
   * Put other messages there by `draw`: what is in view stays where it is.
   * @param {() => void} draw
   */
  change(draw) {
    this.#root.classList.toggle("windowed-thread", this.#branch.length > WHOLE);
    const inView = this.#messages().find((element) => element.offsetTop + element.offsetHeight > this.#scroll.top);
    const before = inView?.offsetTop ?? 0;
    draw();
    this.#root.append(this.#below);
    this.#above.style.height = `${this.#sum(0, this.#first)}px`;
    this.#below.style.height = `${this.#sum(this.#last, this.#branch.length)}px`;
    if (this.#branch.length > WHOLE && inView?.isConnected) this.#scroll.shift(inView.offsetTop - before);
  }

  /**
   * @param {number} around
   * @returns {[number, number]}
   */
  #around(around) {
    const whole = this.#sum(0, this.#branch.length);
    const top = this.#scroll.isAtEnd ? whole - this.#scroll.height : this.#scroll.top;
    const [from, to] = [top - around, top + this.#scroll.height + around];
    let [first, last, at] = [0, 0, 0];
    for (const [index, message] of this.#branch.entries()) {
      if (at <= from) first = index;
      if (at < to) last = index + 1;
      at += this.#height(message);
    }
    return [first, last];
  }

  #measure() {
    const elements = [...this.#messages(), this.#below];
    for (let index = 0; index + 1 < elements.length; index++) {
      const px = elements[index + 1].offsetTop - elements[index].offsetTop;
      if (px > 0) this.#heights.set(elements[index].dataset.id ?? "", px);
    }
  }

  #messages() {
    const all = /** @type {HTMLElement[]} */ ([...this.#root.children]);
    return all.filter((element) => element.dataset.id);
  }

  /** @param {Message} message */
  #height({ id }) {
    return this.#heights.get(id) ?? USUAL_PX;
  }

  /**
   * @param {number} first
   * @param {number} last
   */
  #sum(first, last) {
    let px = 0;
    for (let index = first; index < last; index++) px += this.#height(this.#branch[index]);
    return px;
  }
}

function spacer() {
  const element = document.createElement("div");
  element.className = "spacer";
  return element;
}
