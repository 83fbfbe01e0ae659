// Text inside HTML.

/** Text that means itself in HTML, also in an attribute. */
export const escaped = (text) => text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
