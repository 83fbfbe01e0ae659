// What the site told the page when it was made: models, presets, limits and codes.

export const page = JSON.parse(document.getElementById("page-data").textContent);
