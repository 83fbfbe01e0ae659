// The Inspect page: reads what is stored of one answer and hangs all stages on one selection.

import { get } from "../chat/http.js";
import { translate } from "../chat/i18n.js";
import { byId } from "../dom.js";
import { PromptStage } from "./prompt-stage.js";
import { SamplingStage } from "./sampling-stage.js";
import { Selection } from "./selection.js";
import { Strip } from "./strip.js";
import { TimeStage } from "./time-stage.js";
import { Trace } from "./trace.js";
import { showVersions } from "./versions.js";

const main = byId("main");
const note = byId("note");

/** @param {string} text */
function say(text) {
  note.textContent = text;
  note.hidden = !text;
}

async function start() {
  const trace = new Trace(await get(main.dataset.url ?? ""));
  const { prompt } = trace.data;
  if ("unfinished" in main.dataset) say(translate("unfinished"));
  else say(trace.isKnownAnywhere ? (trace.data.vocabulary ? "" : translate("no_vocabulary")) : translate("no_trace"));
  if (!trace.count) return;
  const selection = new Selection({ prompt: prompt?.ids.length ?? 0, answer: trace.count });
  new Strip(trace, selection);
  byId("strip-panel").hidden = false;
  if (prompt) {
    byId("stage-prompt").hidden = false;
    new PromptStage(trace, selection);
  }
  if (trace.isKnownAnywhere) {
    byId("stage-sampling").hidden = byId("stage-time").hidden = false;
    new SamplingStage(trace, selection, main.dataset.branch ?? "");
    new TimeStage(trace, selection);
    byId("stage-versions").hidden = !trace.data.versions.length;
    showVersions(trace.data.versions);
  }
  for (const link of document.querySelectorAll(".stage-links a")) {
    const target = document.querySelector(link.getAttribute("href") ?? "");
    /** @type {HTMLElement} */ (link).hidden = target instanceof HTMLElement && target.hidden;
    link.addEventListener("click", (event) => {
      event.preventDefault(); // the address holds the selection
      target?.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    });
  }
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (target instanceof Element && target.closest("input, select, textarea, .scroll, dialog")) return;
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    event.preventDefault();
    selection.move(key === "ArrowRight" ? 1 : -1);
  });
  main.dataset.drawn = "true";
}

start().catch((error) => {
  say(translate("load_failed", { text: error.message }));
  throw error;
});
