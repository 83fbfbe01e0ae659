// Stage 4: the versions that share this answer's beginning, aligned at their forks.

import { tokens, translate } from "../chat/i18n.js";
import { byId } from "../dom.js";
import { figureFormat } from "../figure-format.js";
import { kindMark, make } from "./parts.js";

/** @param {import("./types.js").Version[]} versions this one first */
export function showVersions(versions) {
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const words of ["", translate("version_text"), translate("version_logprob"), translate("version_per_token")]) {
    const cell = make("th", "", words);
    cell.scope = "col";
    head.append(cell);
  }
  head.cells[2].append(" ", kindMark("derived"));
  const body = table.createTBody();
  for (const version of versions) body.append(rowOf(version));
  byId("versions").replaceChildren(...table.childNodes);
}

/** @param {import("./types.js").Version} version */
function rowOf({ id, at, count, texts, is_cut: isCut, logprob, is_this: isThis }) {
  const row = document.createElement("tr");
  row.classList.toggle("is-this", isThis);
  const name = make("th");
  name.scope = "row";
  if (isThis) {
    name.append(translate("version_this"));
  } else {
    const link = make("a", "", translate("version_fork", { number: figureFormat.count(at + 1) }));
    link.href = `/inspect/${id}/#token=${at + 1}`;
    name.append(link);
  }
  name.append(make("span", "quiet small", tokens(count)));
  const text = make("td", "version-text", make("span", "quiet", `${translate("version_shared", { count: figureFormat.count(at) })} `));
  text.dir = "auto";
  text.append(make("mark", "", texts[0] ?? ""), texts.slice(1).join(""), isCut ? " …" : "");
  const number = (/** @type {number | null} */ value) => make("td", "n", value === null ? "–" : figureFormat.fixed(value, 2));
  row.append(name, text, number(logprob), number(logprob === null ? null : logprob / count));
  return row;
}
