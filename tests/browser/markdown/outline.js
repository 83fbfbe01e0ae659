// What a reader sees of rendered Markdown, as text: tags by meaning, and what the styles make of them
// (numbers of items, alignment, direction, kept lines), not the attributes that should lead there.

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

function outline(root) {
  return [...root.childNodes].map((node) => outlineOf(node, root)).join("\n");
}

function outlineOf(node, parent) {
  if (node.nodeType === Node.TEXT_NODE) return escaped(node.data);
  if (node.matches(".math")) {
    const tex = node.querySelector("annotation")?.textContent;
    if (tex === undefined) return escaped(node.textContent);
    return node.matches(".display") ? `<formula display>${tex}</formula>` : `<formula>${tex}</formula>`;
  }
  if (node.matches("figure.code")) {
    const name = node.querySelector("figcaption span").textContent;
    return `<code-block ${name}>${escaped(node.querySelector("code").textContent)}</code-block>`;
  }
  const inner = (separator = "") => [...node.childNodes].map((child) => outlineOf(child, node)).join(separator);
  if (node.matches(".table")) return inner();
  if (node.matches("thead, tbody")) return inner("\n");
  if (node.matches(".note")) return `<note ${node.firstChild.textContent}>${[...node.lastChild.childNodes].map((child) => outlineOf(child, node.lastChild)).join("\n")}</note>`;
  const style = getComputedStyle(node);
  const tag = node.matches(".raw") ? "lines" : node.localName;
  if (tag === "br") return "<br>";
  let facts = "";
  if (tag === "li") facts += ` ${markerOf(node, style)}`;
  if (tag === "a") facts += ` ${node.getAttribute("href")}`;
  if (tag === "td" || tag === "th") facts += { right: " right", center: " center", left: " left" }[style.textAlign] ?? "";
  if (tag === "lines" && !style.whiteSpace.startsWith("pre")) facts += " run-together";
  if (tag === "details" && node.open) facts += " open";
  if (style.direction !== getComputedStyle(parent).direction && tag !== "code") facts += ` ${style.direction}`;
  if (node.matches("p") && node.parentElement.matches("li") && !facts && node === parent.firstChild) return inner();
  const separator = ["ul", "ol", "table", "blockquote", "li", "details"].includes(tag) ? "\n" : "";
  return `<${tag}${facts}>${separator && tag !== "li" ? separator : ""}${inner(separator)}${separator && tag !== "li" ? separator : ""}</${tag}>`;
}

function markerOf(item, style) {
  if (style.listStyleType !== "decimal") return "•";
  let number = item.parentElement.start;
  for (let before = item.previousElementSibling; before; before = before.previousElementSibling) number++;
  return `${number}.`;
}
