// The board's charts over time: percentiles as lines, phases as stacked bars.

import { figureFormat } from "../figure-format.js";
import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { MOMENT, axes, colour, durationOrDash, fmtDate, upTo } from "./chart.js";

/** @typedef {import("./types.js").BoardData} BoardData */
/** @typedef {import("./types.js").ChartOptions} ChartOptions */
/** @typedef {import("./types.js").Column} Column */
/** @typedef {import("./types.js").Words} Words */
/** @typedef {import("./types.js").Zoom} Zoom */

const ROUGH_BELOW = 1000;

/**
 * What both kinds of chart over time share: the site's time zone, one cursor, drag to zoom.
 * @param {BoardData} board
 * @param {Zoom} zoom
 */
function overTime(board, zoom) {
  return {
    fmtDate,
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
      drawClear: [(/** @type {uPlot} */ plot) => shadeUnfinished(plot, board)],
      ready: [showNewest],
      setCursor: [(/** @type {uPlot} */ plot) => plot.cursor.idx == null && showNewest(plot)],
    },
  };
}

/**
 * Shade the slices of time that aren't whole, so that their fall isn't read as one.
 * @param {uPlot} plot
 * @param {BoardData} board
 */
function shadeUnfinished(plot, board) {
  plot.ctx.save();
  plot.ctx.fillStyle = colour("--unfinished");
  for (const start of board.unfinished_s) {
    const left = Math.max(plot.bbox.left, plot.valToPos(start, "x", true));
    const right = Math.min(plot.bbox.left + plot.bbox.width, plot.valToPos(start + board.bucket_s, "x", true));
    if (right > left) plot.ctx.fillRect(left, plot.bbox.top, right - left, plot.bbox.height);
  }
  plot.ctx.restore();
}

/**
 * While nobody points at a slice the legend tells the newest one with data: there is no dead space.
 * @param {uPlot} plot
 */
function showNewest(plot) {
  const last = (plot.data[1] ?? []).findLastIndex((/** @type {number | null} */ value) => value != null);
  if (last >= 0 && plot.legend.idx !== last) plot.setLegend({ idx: last });
}

const time = (/** @type {Words} */ words) => ({ label: words.time, value: MOMENT });

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
