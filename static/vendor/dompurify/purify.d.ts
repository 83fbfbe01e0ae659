// What our scripts use of DOMPurify.

export interface Rules {
  RETURN_DOM_FRAGMENT: boolean;
  USE_PROFILES?: { html: boolean };
  ALLOWED_TAGS?: string[];
  ALLOWED_ATTR?: string[];
  FORBID_TAGS?: string[];
  FORBID_ATTR?: string[];
  ALLOW_DATA_ATTR?: boolean;
  ALLOWED_URI_REGEXP?: RegExp;
}

declare const DOMPurify: { sanitize(html: string, rules: Rules): DocumentFragment };
export default DOMPurify;
