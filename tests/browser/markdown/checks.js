// Checks of the renderer that look at every state of a growing answer; a test runs them on the page.

/** What the renderer shows of a text, in an element of its own. */
async function shown(text) {
  const { MarkdownView } = await import("/static/js/chat/markdown.js");
  const root = document.createElement("div");
  root.className = "content";
  new MarkdownView(root).render(text);
  return root;
}

/**
 * Each text fed one character at a time, or in steps: at its end the same nodes as when it is shown
 * at once. Returns those that differ.
 */
async function grownDiffers(texts, step = 1) {
  const { MarkdownView } = await import("/static/js/chat/markdown.js");
  await import("/static/vendor/katex/katex.min.js");
  const bad = [];
  for (const text of texts) {
    const root = document.createElement("div");
    root.className = "content";
    const view = new MarkdownView(root);
    for (let at = 0; at <= text.length; at += step) view.render(text.slice(0, at), { isGrowing: true });
    view.render(text);
    const whole = await shown(text);
    if (!root.isEqualNode(whole)) bad.push([text, root.innerHTML, whole.innerHTML]);
  }
  return bad;
}

/**
 * The words of each text that nothing on the page shows: they may be in the text, in a formula's
 * source, in where a link leads or in a list's numbers. Returns those texts that lose one.
 */
async function lostWords(texts) {
  const bad = [];
  for (const text of texts) {
    const root = await shown(text);
    let seen = root.textContent;
    for (const element of root.querySelectorAll("*")) {
      for (const { value } of element.attributes) seen += ` ${value}`;
      seen += ` ${element.localName} ${element.start ?? ""}`;
    }
    const source = text.replace(/&(?:#\w+|\w+);|[-*+] \[[xX]\]/g, " ");
    const lost = (source.match(/[\p{L}\p{N}]+/gu) ?? []).filter((word) => !/^\d{1,9}$/.test(word) && !seen.toLowerCase().includes(word.toLowerCase()));
    if (lost.length) bad.push([text, lost]);
  }
  return bad;
}

/** Texts made of what Markdown is made of, the same for the same seed. */
function madeUp(seed, count) {
  const pieces = [
    "*", "**", "_", "__", "~~", "~", "`", "``", "```", "\n```\n", "\n```js\n", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\", "[", "](", "]",
    "(", ")", "https://example.com/", "![", "<", ">", "<b>", "<sub>", "</sub>", "<br>", "<details>\n", "<summary>", "</summary>", "</details>\n",
    "\n", "\n\n", "\n- ", "\n  - ", "\n1. ", "\n> ", "\n# ", "\n---\n", "\n===\n", "| a | b |\n|---|--:|\n", "|", " | ", "\n    ", "\t",
    "[^1]", "\n[^1]: ", "\n[ref]: https://example.com/ref\n", "[ref]", "&amp;", "&", "。", "「", "：", "强调", "العربية", "😀", "word", "Other", "x1", " ", " ", ". ",
    "\n\\begin{align}\n", "\n\\end{align}\n", "- [ ] ", "\r\n", "\n\n\n", "  \n",
  ];
  let state = seed;
  const random = (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  return Array.from({ length: count }, () => Array.from({ length: 4 + random(40) }, () => pieces[random(pieces.length)]).join(""));
}

/** How many nodes change with each piece of text that is appended to so long a one. */
async function changesPerPiece(text, length, pieces = 40, step = 24) {
  const { MarkdownView } = await import("/static/js/chat/markdown.js");
  const root = document.createElement("div");
  root.className = "content";
  document.getElementById("thread").append(root);
  const view = new MarkdownView(root);
  view.render(text.slice(0, length), { isGrowing: true });
  const watcher = new MutationObserver(() => {});
  watcher.observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
  const changes = [];
  for (let at = 1; at <= pieces; at++) {
    view.render(text.slice(0, length + at * step), { isGrowing: true });
    changes.push(watcher.takeRecords().reduce((sum, { addedNodes, removedNodes }) => sum + (addedNodes.length + removedNodes.length || 1), 0));
  }
  root.remove();
  return Math.max(...changes);
}
