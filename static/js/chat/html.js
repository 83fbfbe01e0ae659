// Text inside HTML.

/** @type {Map<string, string>} */
const named = new Map();

/**
 * Text with its character references (&amp;amp; &amp;#169;) as what they stand for.
 * @param {string} text
 */
export function decoded(text) {
  return text.replace(/&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,31}));/g, (reference, decimal, hex, name) => {
    if (name) return byName(reference);
    const point = decimal ? Number(decimal) : Number.parseInt(hex, 16);
    const isValid = point > 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
    return isValid ? String.fromCodePoint(point) : "\ufffd";
  });
}

/** @param {string} reference a name between & and ; which can hold no markup */
function byName(reference) {
  let text = named.get(reference);
  if (text === undefined) {
    text = new DOMParser().parseFromString(reference, "text/html").body.textContent || reference;
    named.set(reference, text);
  }
  return text;
}
