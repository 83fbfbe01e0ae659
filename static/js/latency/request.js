// The page of one request: the gap before each of its tokens.

import { byId, part } from "../dom.js";
import { axes, Chart, colour, durationOrDash, localised, upTo } from "./chart.js";

/** Distances of ticks: there is no token 2.4. */
const WHOLE = [1, 2, 5].flatMap((step) => [1, 10, 100, 1_000, 10_000, 100_000].map((power) => step * power)).sort((a, b) => a - b);

if (document.getElementById("itl-chart")) {
  /** @type {import("./types.js").Column} */
  const gaps = JSON.parse(byId("itl", HTMLScriptElement).text).gaps_ms;
  // Token 1 is the first one; it has no gap, TTFT pays for it.
  const tokens = gaps.map((_, i) => i + 2);
  new Chart(
    byId("itl-chart"),
    (_, words) => ({
      scales: { x: { time: false }, y: { range: upTo } },
      cursor: { drag: { x: true, y: false } },
      axes: axes({ x: { values: localised, incrs: WHOLE } }),
      series: [
        { label: words.token },
        {
          label: words.gap,
          stroke: colour("--decode"),
          width: gaps.length > 300 ? 1 : 1.5,
          points: { show: gaps.length <= 300, size: 4, fill: colour("--decode") },
          value: (/** @type {unknown} */ _, /** @type {number | null} */ ms) => durationOrDash(ms),
        },
      ],
      columns: [tokens, gaps],
    }),
    null,
    (error) => {
      throw error;
    },
  );
  part(document, ".board").dataset.drawn = "true";
}
