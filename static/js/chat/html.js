// Text inside HTML.

/**
 * Text that means itself in HTML, also in an attribute.
 * @param {string} text
 */
export const escaped = (text) => text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
