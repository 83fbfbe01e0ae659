// What the site told the page when it was made: models, presets, limits and codes.

/** @type {import("./types.js").PageData} */
export const page = JSON.parse(document.getElementById("page-data")?.textContent ?? "{}");
