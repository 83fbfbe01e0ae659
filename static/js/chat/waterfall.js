// Where an answer's time went: one line of figures, and the bars behind it.

import { figureFormat } from "../figure-format.js";
import { tokens, translate } from "./i18n.js";

/** "TTFT 212 ms · 24.1 ms/token · 41 tokens/s · 187 tokens · model / preset"; "" without figures. */
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

/** Fill `root` with the waterfall of these figures. */
export function drawWaterfall(root, figures) {
  root.replaceChildren();
  const bars = barsOf(figures);
  if (!bars.length) return;
  const total = Math.max(...bars.map((bar) => bar.start + bar.length));
  const list = document.createElement("ol");
  for (const bar of bars) list.append(rowOf(bar, total));
  root.append(list, formulaOf(figures), notesOf(figures));
}

function barsOf(figures) {
  const bars = figures.segments.map(({ kind, start_ms, length_ms }) => ({ kind, start: start_ms, length: length_ms }));
  if (bars.length && figures.delivery_ms > 0) {
    bars.push({ kind: "unattributed", start: figures.latency_ms, length: figures.delivery_ms });
  }
  return bars;
}

function rowOf({ kind, start, length }, total) {
  const row = document.createElement("li");
  const label = document.createElement("span");
  label.textContent = translate(`bar_${kind}`);
  const track = document.createElement("span");
  track.className = "track";
  const bar = document.createElement("span");
  bar.className = `bar ${kind}`;
  bar.style.marginInlineStart = `${(100 * start) / total}%`;
  bar.style.width = `max(2px, ${(100 * length) / total}%)`;
  track.append(bar);
  const value = document.createElement("span");
  value.className = "value";
  value.textContent = figureFormat.duration(length);
  row.append(label, track, value);
  return row;
}

function formulaOf(figures) {
  const line = document.createElement("p");
  line.className = "formula";
  const n = figures.completion_tokens;
  if (figures.recovery_ms) {
    line.textContent =
      `${translate("formula_recovery")}: ${figureFormat.duration(figures.latency_ms)} = ` +
      `${figureFormat.duration(figures.ttft_ms)} + ${figureFormat.duration(figures.decode_ms)} + ${figureFormat.duration(figures.recovery_ms)}`;
  } else if (figures.tpot_ms != null) {
    line.textContent =
      `${translate("formula")}: ${figureFormat.duration(figures.latency_ms)} = ` +
      `${figureFormat.duration(figures.ttft_ms)} + ${figureFormat.duration(figures.tpot_ms)} × (${figureFormat.count(n)} − 1)`;
  }
  return line;
}

function notesOf(figures) {
  const notes = [];
  if (figures.prompt_tokens != null) {
    const cached = figures.cached_tokens ?? 0;
    notes.push(translate(cached ? "of_prompt" : "prompt", { prompt: figureFormat.count(figures.prompt_tokens), cached: figureFormat.count(cached) }));
  }
  if (figures.batch_mean > 1) notes.push(translate("batch", { batch: figureFormat.rate(figures.batch_mean) }));
  if (figures.roofline != null) notes.push(translate("roofline", { percent: figureFormat.percent(figures.roofline) }));
  if (figures.attempts > 1) notes.push(translate("attempts", { count: figureFormat.count(figures.attempts) }));
  if (figures.dtype) notes.push([figures.dtype, figures.device].filter(Boolean).join(", "));
  if (figures.is_exact === false) notes.push(translate("inexact"));
  const line = document.createElement("p");
  line.className = "quiet";
  line.textContent = notes.join(" · ");
  return line;
}
