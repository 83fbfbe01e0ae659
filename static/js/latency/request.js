// The page of one request: the gap before each of its tokens.

import { axes, Chart, colour, durationOrDash, localised } from "./charts.js";

const element = document.getElementById("itl-chart");

if (element) {
  const { gaps_ms: gaps } = JSON.parse(document.getElementById("itl").textContent);
  // Token 1 is the first one; it has no gap, TTFT pays for it.
  const tokens = gaps.map((_, i) => i + 2);
  new Chart(
    element,
    (_, words) => ({
      scales: { x: { time: false }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] } },
      cursor: { drag: { x: true, y: false } },
      axes: axes({ x: { values: localised } }),
      series: [
        { label: words.token },
        {
          label: words.gap,
          stroke: colour("--decode"),
          width: gaps.length > 300 ? 1 : 1.5,
          points: { show: gaps.length <= 300, size: 4, fill: colour("--decode") },
          value: (_, ms) => durationOrDash(ms),
        },
      ],
      columns: [tokens, gaps],
    }),
    null,
  );
  document.querySelector(".board").dataset.drawn = "true";
}
