// Finds elements that the page is known to have. A missing one is an error of the template.

/**
 * @template {Element} T
 * @typedef {new () => T} Kind
 */

/**
 * The element of that id.
 * @type {{ (id: string): HTMLElement, <T extends Element>(id: string, kind: Kind<T>): T }}
 */
export const byId = (/** @type {string} */ id, kind = HTMLElement) => checked(document.getElementById(id), `#${id}`, kind);

/**
 * The first element below `root` that the selector matches.
 * @type {{ (root: ParentNode, selector: string): HTMLElement, <T extends Element>(root: ParentNode, selector: string, kind: Kind<T>): T }}
 */
export const part = (/** @type {ParentNode} */ root, /** @type {string} */ selector, kind = HTMLElement) =>
  checked(root.querySelector(selector), selector, kind);

/**
 * A copy of what the template of that id holds.
 * @param {string} id
 */
export function copyOfTemplate(id) {
  const content = /** @type {DocumentFragment} */ (byId(id, HTMLTemplateElement).content.cloneNode(true));
  return checked(content.firstElementChild, `#${id}`, HTMLElement);
}

/**
 * The nearest element around an event's target that the selector matches.
 * @param {Event} event
 * @param {string} selector
 */
export function around(event, selector) {
  const found = event.target instanceof Element ? event.target.closest(selector) : null;
  return found instanceof HTMLElement ? found : null;
}

/**
 * @template {Element} T
 * @param {Element | null} found
 * @param {string} name
 * @param {Kind<T>} kind
 */
function checked(found, name, kind) {
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} "${name}"`);
  return found;
}
