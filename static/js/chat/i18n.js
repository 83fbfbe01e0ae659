// Sentences and numbers as the page's language writes them.

const strings = JSON.parse(document.getElementById("strings").textContent);
const language = document.documentElement.lang;
const whole = new Intl.NumberFormat(language);
const tenths = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** The sentence of that key with `{name}` filled in. */
export function say(key, values = {}) {
  const text = strings[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export const count = (value) => whole.format(value);

/** Milliseconds with as many digits as help: 0.42 ms, 24.1 ms, 1,234 ms. */
export function ms(value) {
  if (value < 10) return `${new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(value)} ms`;
  return `${(value < 100 ? tenths : whole).format(value < 100 ? value : Math.round(value))} ms`;
}

/** "1 token", "187 tokens". */
export const tokens = (number) => say(number === 1 ? "token" : "tokens", { count: count(number) });

export const tenth = (value) => tenths.format(value);

export function when(iso) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
}
