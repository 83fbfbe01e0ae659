// Charts over time: percentiles as lines, phases as stacked bars. Draws; knows no page.
//
// Colours are read from CSS custom properties and again whenever the theme changes, because a
// canvas doesn't follow them by itself.

import { figureFormat } from "../figure-format.js";
import uPlot from "../../vendor/uplot/uPlot.esm.js";

/** @typedef {import("./types.js").BoardData} BoardData */
/** @typedef {import("./types.js").ChartOptions} ChartOptions */
/** @typedef {import("./types.js").Column} Column */
/** @typedef {import("./types.js").Words} Words */
/** @typedef {import("./types.js").Zoom} Zoom */

const HEIGHT = 232;
const ROUGH_BELOW = 1000;
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

// uPlot's own table of tick formats, for a clock of 24 hours and days in ISO order:
// [from this distance on, format, added when the year, month, day, hour, minute, second turns, mode]
const CLOCK = [
  [86400 * 365, "{YYYY}", null, null, null, null, null, null, 1],
  [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
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
  /** @type {uPlot | null} */
  #plot = null;

  /**
   * `options(data, words)` gives uPlot's; it's asked again for new data and for a new theme.
   * `words` are the element's data attributes: the page's own, in its language.
   * @param {HTMLElement} element
   * @param {(data: Data, words: Words) => ChartOptions} options
   * @param {Data} data
   */
  constructor(element, options, data) {
    this.#element = element;
    this.#options = options;
    this.#data = data;
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
    const { columns, ...options } = this.#options(this.#data, this.#element.dataset);
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

/**
 * What both kinds of chart over time share: the site's time zone, one cursor, drag to zoom.
 * @param {BoardData} board
 * @param {Zoom} zoom
 */
function overTime(board, zoom) {
  return {
    tzDate: (/** @type {number} */ seconds) => uPlot.tzDate(new Date(seconds * 1000), board.timezone),
    scales: {
      x: { range: (/** @type {unknown} */ _, /** @type {number} */ first, /** @type {number} */ last) => [first, last + board.bucket_s] }, // the last one, too
      y: { range: upTo },
    },
    cursor: { sync: { key: "latency" }, drag: { x: true, y: false, setScale: false } },
    hooks: {
      setSelect: [
        (/** @type {uPlot} */ plot) => {
          if (plot.select.width < 8) return;
          const from = plot.posToVal(plot.select.left, "x");
          zoom(from, plot.posToVal(plot.select.left + plot.select.width, "x"));
        },
      ],
    },
  };
}

const time = (/** @type {Words} */ words) => ({ label: words.time, value: "{YYYY}-{MM}-{DD} {HH}:{mm}" });

/**
 * p50, p95 and p99 of one figure. p99 of few requests carries a ≈.
 * @param {"ttft" | "tpot"} figure
 * @param {Zoom} zoom
 * @returns {(board: BoardData, words: Words) => ChartOptions}
 */
export function percentiles(figure, zoom) {
  return (board, words) => {
    const s = board.series;
    const count = s[`${figure}_count`];
    /** @type {(p: string, width: number, dash?: number[]) => object} */
    const line = (p, width, dash) => ({
      label: p,
      stroke: colour(`--${p}`),
      width,
      dash,
      points: { show: true, size: 5, filter: lone },
      value: (/** @type {unknown} */ _, /** @type {number | null} */ ms, /** @type {unknown} */ _series, /** @type {number | null} */ index) => {
        const isRough = p === "p99" && index !== null && (count[index] ?? 0) < ROUGH_BELOW;
        return ms == null ? "–" : `${isRough ? "≈ " : ""}${figureFormat.duration(ms)}`;
      },
    });
    return {
      ...overTime(board, zoom),
      axes: axes(),
      series: [time(words), line("p50", 2), line("p95", 1.5), line("p99", 1.25, [4, 3])],
      columns: [s.start_s, ...["p50", "p95", "p99"].map((p) => s[`${figure}_${p}_ms`])],
    };
  };
}

/**
 * Points that no line leads to: alone between gaps they would not be seen.
 * @param {uPlot} plot
 * @param {number} index of the series
 */
function lone(plot, index) {
  const values = plot.data[index];
  const isThere = (/** @type {number} */ i) => values[i] !== null && values[i] !== undefined;
  return values.flatMap((_, i) => (isThere(i) && !isThere(i - 1) && !isThere(i + 1) ? [i] : []));
}

const PHASES = ["queue", "prefill", "decode", "recovery", "delivery"];

/**
 * Mean queue, prefill, decode, recovery and delivery as bars on top of each other.
 * @param {Zoom} zoom
 * @returns {(board: BoardData, words: Words) => ChartOptions}
 */
export function phases(zoom) {
  return (board, words) => {
    const s = board.series;
    const raw = PHASES.map((name) => s[`${name}_mean_ms`]);
    const bars = uPlot.paths.bars({ size: [0.85, 48], align: 1, radius: 0 });
    // Drawn from the tallest sum to the shortest, each over the one before.
    const drawn = stacked(raw).reverse();
    const names = [...PHASES].reverse();
    const shown = [...raw].reverse();
    return {
      ...overTime(board, zoom),
      axes: axes(),
      series: [
        time(words),
        ...names.map((name, i) => ({
          label: words[name],
          stroke: colour(`--${name}`),
          fill: colour(`--${name}`),
          width: 0,
          paths: bars,
          points: { show: false },
          value: (/** @type {unknown} */ _, /** @type {unknown} */ _sum, /** @type {unknown} */ _series, /** @type {number | null} */ index) =>
            (index === null ? "–" : durationOrDash(shown[i][index])),
        })),
      ],
      columns: [s.start_s, ...drawn],
    };
  };
}

/**
 * Sums from the first column up to each; null where the first has none.
 * @param {Column[]} columns
 */
function stacked(columns) {
  /** @type {Column} */
  let below = columns[0].map((v) => (v === null ? null : 0));
  return columns.map((column) => {
    below = column.map((v, i) => add(below[i], v));
    return below;
  });
}

/**
 * @param {number | null} below
 * @param {number | null} value
 */
const add = (below, value) => (below === null ? null : below + Math.max(0, value ?? 0));
