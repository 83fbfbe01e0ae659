// A chart in an element: its axes, its size, its theme. Knows neither data nor page.
//
// Colours are read from CSS custom properties and again whenever the theme changes, because a
// canvas doesn't follow them by itself.

import { figureFormat } from "../figure-format.js";
import uPlot from "../../vendor/uplot/uPlot.esm.js";

/** @typedef {import("./types.js").ChartOptions} ChartOptions */
/** @typedef {import("./types.js").Words} Words */

const HEIGHT = 232;
const language = document.documentElement.lang; // numbers as the page's own are written

/**
 * The value of a CSS custom property of the page, or an equivalent colour.
 * @param {string} name
 */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * A duration, or "–" where there is no data.
 * @param {number | null | undefined} ms
 */
export const durationOrDash = (ms) => (ms == null ? "–" : figureFormat.duration(ms));

// Days as chatsite/formats has them: in ISO order in English, the day first in Portuguese.
const isDayFirst = language.startsWith("pt");
const DAY = isDayFirst ? "{DD}/{MM}" : "{MM}-{DD}";
export const MOMENT = `${isDayFirst ? `${DAY}/{YYYY}` : `{YYYY}-${DAY}`} {HH}:{mm}`;

/** @type {(options: Intl.DateTimeFormatOptions, count: number) => string[]} */
const names = (options, count) => {
  const format = new Intl.DateTimeFormat(language, { ...options, timeZone: "UTC" });
  // Both the months of 2023 and the days of its first week begin with January's first, a Sunday.
  const at = (/** @type {number} */ n) => (options.month ? Date.UTC(2023, n) : Date.UTC(2023, 0, 1 + n));
  return Array.from({ length: count }, (_, n) => format.format(at(n)));
};
const NAMES = {
  MMMM: names({ month: "long" }, 12),
  MMM: names({ month: "short" }, 12),
  WWWW: names({ weekday: "long" }, 7),
  WWW: names({ weekday: "short" }, 7),
};

/**
 * uPlot's writer of moments, with the names of months and days in the page's language.
 * @param {string} template
 */
export const fmtDate = (template) => uPlot.fmtDate(template, NAMES);

// uPlot's own table of tick formats, for a clock of 24 hours:
// [from this distance on, format, added when the year, month, day, hour, minute, second turns, mode]
const CLOCK = [
  [86400 * 365, "{YYYY}", null, null, null, null, null, null, 1],
  [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, DAY, "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", `\n${DAY}`, null, `\n${DAY}`, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", `\n${DAY}`, null, `\n${DAY}`, null, null, null, 1],
];

/**
 * Ticks as the page's language writes them; of the form that uPlot asks for.
 * @param {unknown} _plot
 * @param {number[]} ticks
 */
export function localised(_plot, ticks) {
  return ticks.map((value) => value.toLocaleString(language));
}

/**
 * The range of an axis from zero to a little more than its largest value.
 * @param {unknown} _plot
 * @param {number} _min
 * @param {number} max
 */
export const upTo = (_plot, _min, max) => [0, max > 0 ? max * 1.08 : 1];

/** @param {{ x?: object, y?: object }} over */
export function axes(over = {}) {
  const stroke = colour("--quiet");
  const grid = { stroke: colour("--line"), width: 1 };
  const font = "11px system-ui, sans-serif";
  const common = { stroke, grid, ticks: { show: false }, font };
  return [
    { ...common, grid: { show: false }, space: 70, values: CLOCK, ...over.x },
    { ...common, size: 56, space: 36, values: localised, ...over.y },
  ];
}

/** A chart that fills its element, follows its width and the theme, and takes new data. */
/** @template Data */
export class Chart {
  #element;
  #options;
  #data;
  #onFailure;
  /** @type {uPlot | null} */
  #plot = null;

  /**
   * `options(data, words)` gives uPlot's; it's asked again for new data and for a new theme.
   * `words` are the element's data attributes: the page's own, in its language. `onFailure` fills
   * the element when data can't be drawn; the next data may be.
   * @param {HTMLElement} element
   * @param {(data: Data, words: Words) => ChartOptions} options
   * @param {Data} data
   * @param {(error: unknown) => void} onFailure
   */
  constructor(element, options, data, onFailure) {
    this.#element = element;
    this.#options = options;
    this.#data = data;
    this.#onFailure = onFailure;
    this.draw();
    new ResizeObserver(() => this.#fit()).observe(element);
    onThemeChange(() => this.draw());
  }

  /**
   * Show other data; the picture keeps its place and its size.
   * @param {Data} data
   */
  set data(data) {
    this.#data = data;
    this.draw();
  }

  draw() {
    try {
      this.#draw();
    } catch (error) {
      this.#plot?.destroy();
      this.#plot = null;
      this.#onFailure(error);
    }
  }

  #draw() {
    const { columns, ...options } = this.#options(this.#data, this.#element.dataset);
    if (!columns.every((column) => column?.length === columns[0].length)) throw new Error("some are missing.");
    if (columns.slice(1).every((column) => column.every((v) => v === null))) {
      this.#sayEmpty();
      return;
    }
    const next = new uPlot(
      { width: this.#width(), height: HEIGHT, legend: { live: true }, ...options },
      columns,
    );
    this.#plot?.destroy();
    this.#plot = next;
    this.#element.replaceChildren(next.root);
  }

  /** Empty axes would read as zero: say it in the page's own words. */
  #sayEmpty() {
    this.#plot?.destroy();
    this.#plot = null;
    const text = document.createElement("p");
    text.className = "empty";
    text.textContent = this.#element.dataset.empty ?? "";
    this.#element.replaceChildren(text);
  }

  #width() {
    return Math.max(200, Math.floor(this.#element.getBoundingClientRect().width));
  }

  #fit() {
    if (this.#plot && this.#plot.width !== this.#width()) {
      this.#plot.setSize({ width: this.#width(), height: HEIGHT });
    }
  }
}

/** @param {() => void} act */
function onThemeChange(act) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", act);
}

