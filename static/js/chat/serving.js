// Which models a worker serves at this moment, as the site says over the socket. Until it has said
// so, and while the site can't know, every one counts as served.

import { byId } from "../dom.js";
import { translate } from "./i18n.js";
import { page } from "./page.js";

/** @type {Set<string> | null} */
let served = null;

/** @param {string} model */
export const isServed = (model) => served === null || served.has(model);

/**
 * Take what the site says, and show it in the picker.
 * @param {string[] | null} models
 */
export function setServed(models) {
  served = models && new Set(models);
  for (const option of byId("model", HTMLSelectElement).options) {
    const { name = option.value } = page.models.find(({ slug }) => slug === option.value) ?? {};
    option.textContent = isServed(option.value) ? name : translate("unserved_model", { name });
  }
}
