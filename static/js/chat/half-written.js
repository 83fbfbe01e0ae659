// What the end of a growing Markdown text most likely means. Without it a page flickers: a list
// looks like a heading for one token, stars stand there until their partners come.

const FENCE = /^ {0,3}(`{3,}|~{3,})/;

/** `text` with its half-written end closed or held back. Only the last block is touched. */
export function closed(text) {
  const start = startOfLastBlock(text);
  const last = text.slice(start);
  if (isOpenFence(last)) return text.slice(0, start) + fenced(last);
  return text.slice(0, start) + closedInline(withoutMarker(last));
}

function startOfLastBlock(text) {
  const lines = text.split("\n");
  let at = 0;
  let start = 0;
  let fence = "";
  for (const line of lines) {
    const mark = FENCE.exec(line)?.[1];
    if (!fence && mark) [fence, start] = [mark, at];
    else if (fence && mark?.startsWith(fence) && !line.trim().replaceAll(fence[0], "")) [fence, start] = ["", at + line.length + 1];
    else if (!fence && !line.trim()) start = at + line.length + 1;
    at += line.length + 1;
  }
  return Math.min(start, text.length);
}

const isOpenFence = (block) => FENCE.test(block);

/** A fence whose line isn't complete shows nothing; one that may just be closing isn't code. */
function fenced(block) {
  if (!block.includes("\n")) return "";
  return block.replace(/\n {0,3}[`~]{1,2}$/, "");
}

/** Hold back a last line that is only a marker: of a list, heading, quote, rule, fence or table. */
function withoutMarker(block) {
  return block.replace(/(^|\n)[ \t>]*([-*_+=~`|:]+[-*_+=~`|: \t]*|#{1,6}|\d{1,9}[.)]?|>)[ \t]*$/, (all, newline, marker) =>
    /^\d+$/.test(marker) && !newline ? all : "",
  );
}

/** Close code, emphasis and links that are open at the end. */
function closedInline(block) {
  const text = block.replace(/!?\[([^\]\n]*)\]\([^)\n]*$/, "$1").replace(/<[a-zA-Z/][^>\n]*$/, "");
  const ticks = text.match(/`+/g) ?? [];
  if (ticks.length % 2) return text.endsWith("`") ? text.slice(0, -ticks.at(-1).length) : text + ticks.at(-1);
  const plain = text.replace(/(`+)[^`]*\1/g, (code) => "x".repeat(code.length));
  let end = text.replace(/[*_~]+$/, (run) => (opens(plain, run) ? "" : run));
  const open = [];
  for (const { 0: mark, index } of plain.slice(0, end.length).matchAll(/\*{1,3}|~~|(?<![\w])_{1,3}|_{1,3}(?![\w])/g)) {
    if (open.at(-1) === mark) open.pop();
    else if (/\S/.test(plain[index + mark.length] ?? "")) open.push(mark);
  }
  if (open.length) end = end.trimEnd();
  while (open.length) end += open.pop();
  return end;
}

/** Whether a run of marks at the end stands before a word that is still to come. */
function opens(text, run) {
  const before = text[text.length - run.length - 1];
  return before === undefined || /\s/.test(before) || (text.slice(0, -run.length).split(run).length - 1) % 2 === 0;
}
