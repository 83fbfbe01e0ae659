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
  const query = new URLSearchParams(location.search);
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
    if (next && next.innerHTML !== shown.innerHTML && !shown.contains(document.activeElement)) {
      shown.replaceChildren(...next.childNodes);
    }
  }
}

const isBusy = () => document.hidden || !document.getSelection()?.isCollapsed;

const board = await fetchBoard();
const charts = [
  new Chart(byId("ttft-chart"), percentiles("ttft", zoom), board),
  new Chart(byId("tpot-chart"), percentiles("tpot", zoom), board),
  new Chart(byId("phases-chart"), phases(zoom), board),
];
root.dataset.drawn = "true";

const live = byId("live", HTMLInputElement);
live.checked = isOpenEnded;
live.disabled = !isOpenEnded;
setInterval(async () => {
  if (!live.checked || isBusy()) return;
  try {
    await refreshParts();
    const next = await fetchBoard();
    for (const chart of charts) chart.data = next;
  } catch {
    // The site is away for a moment: the page keeps what it has and asks again.
  }
}, REFRESH_MS);
