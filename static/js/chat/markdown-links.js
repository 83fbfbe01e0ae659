// Where links may lead, and what is a link without any mark.

const BARE = /(?:https?:\/\/|www\.(?=[A-Za-z0-9]))[^\s<>`"]+/iy;
const ADDRESS = /[A-Za-z0-9][A-Za-z0-9.+_-]{0,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]*[A-Za-z0-9])+(?![\w-])/y;
const SAFE = /^(?:https?:|mailto:|#)/i;

/**
 * Whether a link may lead there.
 * @param {string} href
 */
export const isSafe = (href) => SAFE.test(href);

/**
 * The address that begins at this place of a text. It ends before a sentence's signs, and before any
 * punctuation that isn't ASCII: 。 and （ are no part of an address.
 * @param {string} text
 * @param {number} at
 * @param {string} before the character before it
 * @param {boolean} hasAddress whether there can be one of mail
 */
export function bareLink(text, at, before, hasAddress) {
  if (/[\p{L}\p{N}_]/u.test(before) && /[\x00-\x7f]/.test(before)) return null;
  BARE.lastIndex = at;
  const found = BARE.exec(text)?.[0];
  if (found) {
    const shown = trimmed(found.replace(/(?:(?![\x00-\x7f])[\p{P}\p{S}])[^]*$/u, ""));
    if (/^(?:https?:\/\/|www\.)[^\s/?#]/i.test(shown)) return { text: shown, href: /^www/i.test(shown) ? `http://${shown}` : shown };
  }
  if (!hasAddress) return null;
  ADDRESS.lastIndex = at;
  const address = ADDRESS.exec(text)?.[0];
  return address ? { text: address, href: `mailto:${address}` } : null;
}

/** @param {string} link */
function trimmed(link) {
  let over = count(link, ")") - count(link, "(");
  let end = link.length;
  for (; end > 0; end--) {
    const last = link[end - 1];
    if (last === ")") {
      if (over <= 0) break;
      over--;
    } else if (last === ";") {
      const entity = /&[A-Za-z0-9]{1,31};$/.exec(link.slice(Math.max(0, end - 33), end));
      if (entity) end -= entity[0].length - 1;
    } else if (!/[?!.,:*_~'$\]}|\\]/.test(last)) break;
  }
  return link.slice(0, end);
}

/**
 * @param {string} text
 * @param {string} char
 */
const count = (text, char) => text.split(char).length - 1;
