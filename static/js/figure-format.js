// One way to write a figure: rounded once, half up, with as many decimals as its rounded value
// asks for. The rule stands in chatsite/figure_format.py; a test compares the two over the range.

const DURATION_STEPS = [[10, 2], [100, 1]];
const RATE_STEPS = [[0.1, 4], [10, 2], [100, 1]];
const PERCENT_STEPS = [[0.1, 3]];
const SECONDS_FROM_MS = 10_000;

/** Writes figures as one language does. */
export class FigureFormat {
  #language;
  /** @type {Intl.NumberFormat[]} by number of decimals */
  #formats = [];

  /** @param {string} language */
  constructor(language) {
    this.#language = language;
  }

  /**
   * The number with so many decimals, grouped.
   * @param {number | string} value a decimal's own digits as a string
   * @param {number} decimals
   */
  fixed(value, decimals) {
    this.#formats[decimals] ??= new Intl.NumberFormat(this.#language, {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
      useGrouping: "always",
      signDisplay: "negative", // there is no "-0"
    });
    return this.#formats[decimals].format(/** @type {number} */ (value));
  }

  /**
   * A whole number: "1,234".
   * @param {number} value
   */
  count(value) {
    return this.fixed(value, 0);
  }

  /**
   * Milliseconds as a person reads them: "8.41 ms", "24.1 ms", "4,694 ms", "61.2 s".
   * @param {number} ms
   */
  duration(ms) {
    if (ms === 0) return "0 ms";
    if (rounded(ms, 0) >= SECONDS_FROM_MS) return `${this.fixed(shifted(ms, -3), 1)} s`;
    return `${this.#stepped(ms, DURATION_STEPS, 0)} ms`;
  }

  /**
   * A number per second, or a mean, without its unit: "41.2", "0.0310".
   * @param {number} value
   */
  rate(value) {
    return value === 0 ? "0" : this.#stepped(value, RATE_STEPS, 0);
  }

  /**
   * A share of 1 as "1.2 %"; none and all of it without decimals.
   * @param {number} share
   */
  percent(share) {
    if (share === 0 || share === 1) return `${this.fixed(100 * share, 0)} %`;
    return `${this.#stepped(shifted(share, 2), PERCENT_STEPS, 1)} %`;
  }

  /**
   * The number with the decimals of the first step that its rounded value lies below.
   * @param {number | string} value
   * @param {number[][]} steps
   * @param {number} decimalsAbove
   */
  #stepped(value, steps, decimalsAbove) {
    const decimals = steps.find(([limit, digits]) => rounded(value, digits) < limit)?.[1] ?? decimalsAbove;
    if (Number(value) > 0 && rounded(value, decimals) === 0) {
      return `<${this.fixed(`1e-${decimals}`, decimals)}`;
    }
    return this.fixed(value, decimals);
  }
}

/** @type {Intl.NumberFormat[]} by number of decimals */
const plain = [];

/**
 * How large the number is once it is rounded half up on its shortest decimal form.
 * @param {number | string} value
 * @param {number} decimals
 */
function rounded(value, decimals) {
  plain[decimals] ??= new Intl.NumberFormat("en", { useGrouping: false, maximumFractionDigits: decimals });
  return Math.abs(Number(plain[decimals].format(/** @type {number} */ (value))));
}

/**
 * The decimal that is `value` times ten to the `power`, without the error of a division.
 * @param {number} value
 * @param {number} power
 */
function shifted(value, power) {
  const [digits, exponent = "0"] = String(value).split("e");
  return `${digits}e${Number(exponent) + power}`;
}

/** Figures in the page's own language. */
export const figureFormat = new FigureFormat(globalThis.document?.documentElement.lang || "en");
