// Where an answer's time went: one line of figures, and the bars behind it.

import { count, ms, say, tenth, tokens } from "./words.js";

/** "TTFT 212 ms · 24.1 ms/token · 41 tokens/s · 187 tokens · model / preset"; "" without figures. */
export function figuresLine(figures) {
  if (!figures) return "";
  const parts = [];
  if (figures.ttft_ms != null) parts.push(`TTFT ${ms(figures.ttft_ms)}`);
  if (figures.tpot_ms != null) parts.push(say("ms_token", { value: tenth(figures.tpot_ms) }));
  if (figures.decode_tokens_per_s != null) {
    parts.push(say("tokens_s", { value: count(Math.round(figures.decode_tokens_per_s)) }));
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
  if (figures.ttft_ms == null) return [];
  const bars = [];
  const web = Math.min(figures.submitted_ms ?? 0, figures.queue_ms);
  bars.push({ kind: "web", start: 0, length: web });
  bars.push({ kind: "queue", start: web, length: figures.queue_ms - web });
  bars.push({ kind: "prefill", start: figures.queue_ms, length: figures.prefill_ms });
  bars.push({ kind: "decode", start: figures.ttft_ms, length: figures.decode_ms });
  if (figures.recovery_ms) {
    bars.push({ kind: "recovery", start: figures.ttft_ms + figures.decode_ms, length: figures.recovery_ms });
  }
  if (figures.delivery_ms != null && figures.delivery_ms > 0) {
    bars.push({ kind: "unattributed", start: figures.latency_ms, length: figures.delivery_ms });
  }
  return bars;
}

function rowOf({ kind, start, length }, total) {
  const row = document.createElement("li");
  const label = document.createElement("span");
  label.textContent = say(`bar_${kind}`);
  const track = document.createElement("span");
  track.className = "track";
  const bar = document.createElement("span");
  bar.className = `bar ${kind}`;
  bar.style.marginInlineStart = `${(100 * start) / total}%`;
  bar.style.width = `max(2px, ${(100 * length) / total}%)`;
  track.append(bar);
  const value = document.createElement("span");
  value.className = "value";
  value.textContent = ms(length);
  row.append(label, track, value);
  return row;
}

function formulaOf(figures) {
  const line = document.createElement("p");
  line.className = "formula";
  const n = figures.completion_tokens;
  if (figures.recovery_ms) {
    line.textContent =
      `${say("formula_recovery")}: ${ms(figures.latency_ms)} = ` +
      `${ms(figures.ttft_ms)} + ${ms(figures.decode_ms)} + ${ms(figures.recovery_ms)}`;
  } else if (figures.tpot_ms != null) {
    line.textContent =
      `${say("formula")}: ${ms(figures.latency_ms)} = ` +
      `${ms(figures.ttft_ms)} + ${ms(figures.tpot_ms)} × (${count(n)} − 1)`;
  }
  return line;
}

function notesOf(figures) {
  const notes = [];
  if (figures.prompt_tokens != null) {
    const cached = figures.cached_tokens ?? 0;
    notes.push(say(cached ? "of_prompt" : "prompt", { prompt: count(figures.prompt_tokens), cached: count(cached) }));
  }
  if (figures.batch_mean > 1) notes.push(say("batch", { batch: tenth(figures.batch_mean) }));
  if (figures.roofline != null) notes.push(say("roofline", { share: count(Math.round(100 * figures.roofline)) }));
  if (figures.attempts > 1) notes.push(say("attempts", { count: count(figures.attempts) }));
  if (figures.dtype) notes.push([figures.dtype, figures.device].filter(Boolean).join(", "));
  if (figures.is_exact === false) notes.push(say("inexact"));
  const line = document.createElement("p");
  line.className = "quiet";
  line.textContent = notes.join(" · ");
  return line;
}
