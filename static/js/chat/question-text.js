// What a person wrote, as it was written: every space and sign stays. Only code is told apart, since
// questions are full of it.

import { codeBlock } from "./code-block.js";

const FENCED = /^([ \t]*)(`{3,}|~{3,})([^`\n]*)\n([^]*?)(?:^[ \t]*\2[`~]*[ \t]*(?:\n|$)|$(?![^]))/gm;
const INLINE = /(`+)(?!`)([^\n]+?)(?<!`)\1(?!`)/g;

/**
 * Show a question in `root`.
 * @param {HTMLElement} root
 * @param {string} text
 */
export function showQuestion(root, text) {
  root.dir = "auto";
  root.replaceChildren();
  let from = 0;
  for (const match of text.matchAll(FENCED)) {
    showWords(root, text.slice(from, match.index).replace(/\n$/, ""));
    root.append(codeBlock(match[4].replace(/\n$/, ""), match[3], { isGrowing: false }));
    from = match.index + match[0].length;
  }
  showWords(root, text.slice(from));
}

/**
 * @param {HTMLElement} root
 * @param {string} text
 */
function showWords(root, text) {
  let from = 0;
  for (const { 0: whole, index } of text.matchAll(INLINE)) {
    const code = document.createElement("code");
    code.dir = "ltr";
    code.textContent = whole.replace(/^`+ ?| ?`+$/g, "");
    root.append(text.slice(from, index), code);
    from = index + whole.length;
  }
  if (from < text.length) root.append(text.slice(from));
}
