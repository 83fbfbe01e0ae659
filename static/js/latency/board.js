// The latency board: draws its charts, and refreshes the page's parts in place.

import { byId, part } from "../dom.js";
import { Chart } from "./chart.js";
import { percentiles, phases } from "./charts.js";

const REFRESH_MS = 15_000;
const root = part(document, ".board");
const isOpenEnded = !new URLSearchParams(location.search).get("until");

/**
 * Look closer: the same page for a shorter stretch of time, given in Unix seconds.
 * @type {import("./types.js").Zoom}
 */
const zoom = (from, to) => {
  const at = (/** @type {number} */ seconds) => new Date(seconds * 1000).toISOString().slice(0, 19);
  const query = new URLSearchParams(root.dataset.url?.split("?")[1]); // without what was wrong
  query.delete("range");
  query.set("since", at(Math.floor(from)));
  query.set("until", at(Math.ceil(to)));
  location.search = query.toString();
};

/** @returns {Promise<import("./types.js").BoardData>} */
async function fetchBoard() {
  const response = await fetch(root.dataset.url ?? "", { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`the board's data came with ${response.status}`);
  return response.json();
}

/** Replace what the page says by what it would say now; nothing jumps, no selection is lost. */
async function refreshParts() {
  const response = await fetch(location.href);
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  /** @type {NodeListOf<HTMLElement>} */
  const parts = root.querySelectorAll("[data-live]");
  for (const shown of parts) {
    const next = fresh.querySelector(`[data-live="${shown.dataset.live}"]`);
    if (next instanceof HTMLElement) shown.hidden = next.hidden;
    if (next && next.innerHTML !== shown.innerHTML && !shown.contains(document.activeElement)) {
      shown.replaceChildren(...next.childNodes);
    }
  }
}

const isBusy = () => document.hidden || !document.getSelection()?.isCollapsed;

/** @typedef {import("./types.js").BoardData} BoardData */
/** @type {[string, (board: BoardData, words: import("./types.js").Words) => import("./types.js").ChartOptions][]} */
const shown = [
  ["ttft-chart", percentiles("ttft", zoom)],
  ["tpot-chart", percentiles("tpot", zoom)],
  ["phases-chart", phases(zoom)],
];
/** @type {Map<string, Chart<BoardData>>} */
const charts = new Map();
/** @type {Set<string>} charts whose figures can't be drawn */
const failed = new Set();

/**
 * Draw what there is, each chart for itself: one that fails says so and leaves the others alone.
 * @param {BoardData} board
 */
function draw(board) {
  failed.clear();
  for (const [id, options] of shown) {
    const chart = charts.get(id);
    const onFailure = (/** @type {unknown} */ error) => {
      failed.add(id);
      say(byId(id), error);
    };
    if (chart) chart.data = board;
    else charts.set(id, new Chart(byId(id), options, board, onFailure));
  }
  root.dataset.drawn = "true";
}

/**
 * Say in a chart's place why it isn't there, and that it is asked for again.
 * @param {HTMLElement} element
 * @param {unknown} error
 */
function say(element, error) {
  const text = document.createElement("p");
  text.className = "empty chart-failed";
  const why = error instanceof Error ? error.message : String(error);
  text.textContent = `${root.dataset.failed} ${why} ${root.dataset.retried}`;
  element.replaceChildren(text);
}

/** Charts keep what they show when the site is away, and the page says since when. */
let drawnAt = new Date();
async function refreshCharts() {
  try {
    draw(await fetchBoard());
    drawnAt = new Date();
    byId("stale").textContent = "";
  } catch (error) {
    for (const [id] of shown) if (!charts.has(id)) say(byId(id), error);
    if (charts.size) byId("stale").textContent = `${root.dataset.stale} ${drawnAt.toISOString().slice(11, 19)} UTC`;
  }
}

const live = byId("live", HTMLInputElement);
live.checked = isOpenEnded;
live.disabled = !isOpenEnded;
await refreshCharts();
setInterval(async () => {
  const isWhole = charts.size > 0 && failed.size === 0; // what didn't come is asked for anyway
  if (isWhole && (!live.checked || isBusy())) return;
  await refreshParts().catch(() => {});
  await refreshCharts();
}, REFRESH_MS);

// A chosen filter applies at once; the button is for those without scripts, and for typed dates.
for (const select of root.querySelectorAll(".filter-bar select")) {
  select.addEventListener("change", () => select.closest("form")?.requestSubmit());
}
