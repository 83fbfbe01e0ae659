// Where an answer's time went: one line of figures, and the bars behind it.

import { figureFormat } from "../figure-format.js";
import { tokens, translate } from "./i18n.js";

/** @typedef {import("./types.js").Figures} Figures */
/** @typedef {{ kind: string, start_ms: number, length_ms: number }} Bar */

/**
 * "TTFT 212 ms · 24.1 ms/token · 41 tokens/s · 187 tokens · model / preset"; "" without figures.
 * @param {Figures | null} figures
 */
export function figuresLine(figures) {
  if (!figures) return "";
  const parts = [];
  if (figures.ttft_ms != null) parts.push(`TTFT ${figureFormat.duration(figures.ttft_ms)}`);
  if (figures.tpot_ms != null) parts.push(translate("per_token", { time: figureFormat.duration(figures.tpot_ms) }));
  if (figures.decode_tokens_per_s != null) {
    parts.push(translate("tokens_s", { value: figureFormat.rate(figures.decode_tokens_per_s) }));
  }
  if (figures.completion_tokens != null) parts.push(tokens(figures.completion_tokens));
  if (!parts.length) return "";
  parts.push([figures.model, figures.preset].filter(Boolean).join(" / "));
  return parts.join(" · ");
}

/**
 * Fill `root` with the waterfall of these figures.
 * @param {HTMLElement} root
 * @param {Figures | null} figures
 */
export function drawWaterfall(root, figures) {
  root.replaceChildren();
  const bars = figures ? barsOf(figures) : [];
  if (!figures || !bars.length) return;
  const total = Math.max(...bars.map((bar) => bar.start_ms + bar.length_ms));
  const list = document.createElement("ol");
  for (const bar of bars) list.append(rowOf(bar, total));
  root.append(list, formulaOf(figures), notesOf(figures));
}

/**
 * The site's segments, and what the browser saw beyond them.
 * @param {Figures} figures
 * @returns {Bar[]}
 */
function barsOf({ segments, latency_ms, delivery_ms }) {
  if (!segments.length || latency_ms === null || delivery_ms === null || delivery_ms <= 0) return segments;
  return [...segments, { kind: "unattributed", start_ms: latency_ms, length_ms: delivery_ms }];
}

/**
 * @param {Bar} bar
 * @param {number} total
 */
function rowOf({ kind, start_ms, length_ms }, total) {
  const row = document.createElement("li");
  const label = document.createElement("span");
  label.textContent = translate(`bar_${kind}`);
  const track = document.createElement("span");
  track.className = "track";
  const bar = document.createElement("span");
  bar.className = `bar ${kind}`;
  bar.style.marginInlineStart = `${(100 * start_ms) / total}%`;
  bar.style.width = `max(2px, ${(100 * length_ms) / total}%)`;
  track.append(bar);
  const value = document.createElement("span");
  value.className = "value";
  value.textContent = figureFormat.duration(length_ms);
  row.append(label, track, value);
  return row;
}

/** @param {Figures} figures */
function formulaOf({ latency_ms, ttft_ms, tpot_ms, decode_ms, recovery_ms, completion_tokens }) {
  const line = document.createElement("p");
  line.className = "formula";
  const time = (/** @type {number | null} */ ms) => figureFormat.duration(ms ?? 0);
  if (recovery_ms) {
    const sum = `${time(ttft_ms)} + ${time(decode_ms)} + ${time(recovery_ms)}`;
    line.textContent = `${translate("formula_recovery")}: ${time(latency_ms)} = ${sum}`;
  } else if (tpot_ms !== null) {
    const steps = `(${figureFormat.count(completion_tokens ?? 0)} − 1)`;
    line.textContent = `${translate("formula")}: ${time(latency_ms)} = ${time(ttft_ms)} + ${time(tpot_ms)} × ${steps}`;
  }
  return line;
}

/** @param {Figures} figures */
function notesOf(figures) {
  /** @type {string[]} */
  const notes = [];
  if (figures.prompt_tokens != null) {
    const cached = figures.cached_tokens ?? 0;
    notes.push(translate(cached ? "of_prompt" : "prompt", { prompt: figureFormat.count(figures.prompt_tokens), cached: figureFormat.count(cached) }));
  }
  if (figures.batch_mean !== null && figures.batch_mean > 1) notes.push(translate("batch", { batch: figureFormat.rate(figures.batch_mean) }));
  if (figures.roofline != null) notes.push(translate("roofline", { percent: figureFormat.percent(figures.roofline) }));
  if (figures.attempts > 1) notes.push(translate("attempts", { count: figureFormat.count(figures.attempts) }));
  if (figures.dtype) notes.push([figures.dtype, figures.device].filter(Boolean).join(", "));
  if (figures.is_exact === false) notes.push(translate("inexact"));
  const line = document.createElement("p");
  line.className = "quiet";
  line.textContent = notes.join(" · ");
  return line;
}
