// The samplers' arithmetic over the stored candidates of one token; pure, no page.
//
// `replay` tells again what the engine did, from what it took down (docs/measures.md, One token).
// `recompute` asks what other settings would do; what they make of the rest of the vocabulary can
// only be bounded, so its results are ranges. Order, as in the engine: penalties, temperature,
// top-k, top-p, min-p; the first three shape the distribution, the others only take away, and what
// is left is scaled up to 1 once, for the draw.

/** @typedef {import("./types.js").TokenRecord} TokenRecord */
/** @typedef {import("./types.js").Settings} Settings */
/** @typedef {import("./types.js").Seen} Seen */
/** @typedef {import("./types.js").Cut} Cut */
/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").Replayed} Replayed */
/** @typedef {import("./types.js").Recomputed} Recomputed */

export const NO_TOKEN = 2 ** 32 - 1;
const LEAST_TEMPERATURE = 1e-5; // the engine's own
const ABOUT = 4e-6; // distances are stored in steps of 2^-18

/**
 * A logit after the penalties of a request.
 * @param {number} logit
 * @param {number} id
 * @param {Settings} settings
 * @param {Seen} seen
 */
function penalised(logit, id, settings, seen) {
  const { repetition_penalty: repetition, presence_penalty: presence, frequency_penalty: frequency } = settings;
  let adjusted = logit;
  if (repetition !== 1 && seen.isThere(id)) adjusted = logit > 0 ? logit / repetition : logit * repetition;
  const count = seen.inAnswer(id);
  return count ? adjusted - presence - frequency * count : adjusted;
}

/**
 * The stored candidates with their logits after penalties, likeliest first as the engine walks them.
 * The chosen token is among them, wherever it stood.
 * @param {TokenRecord} record
 * @param {Settings} settings
 * @param {Seen} seen
 */
function candidatesOf(record, settings, seen) {
  /** @type {{ id: number, rank: number, below: number, adjusted: number }[]} */
  const found = [];
  record.candidates.forEach((id, place) => {
    if (id === NO_TOKEN) return;
    const below = record.candidates_below_best[place];
    const logit = record.best_logit - below;
    found.push({ id, rank: place + 1, below, adjusted: penalised(logit, id, settings, seen) });
  });
  // No token outside has a larger logit than the last one stored; penalties may raise one all the same.
  const last = found.length ? record.best_logit - found[found.length - 1].below : -Infinity;
  let reach = last;
  for (const id of seen.ids()) {
    if (!record.candidates.includes(id)) reach = Math.max(reach, penalised(last, id, settings, seen));
  }
  if (!found.some(({ id }) => id === record.token)) {
    const adjusted = penalised(record.best_logit - record.below_best, record.token, settings, seen);
    found.push({ id: record.token, rank: record.rank, below: record.below_best, adjusted });
  }
  found.sort((a, b) => b.adjusted - a.adjusted || a.id - b.id);
  return { found, reach };
}

/**
 * What each sampler did to each candidate. Rows are in the order of the draw.
 * @param {TokenRecord} record
 * @param {Settings} settings the request's own
 * @param {Seen} seen
 * @returns {Replayed}
 */
export function replay(record, settings, seen) {
  const { found, reach } = candidatesOf(record, settings, seen);
  const isGreedy = settings.temperature <= 0;
  const sharpness = 1 / Math.max(settings.temperature, LEAST_TEMPERATURE);
  let before = 0; // mass of the candidates in front
  const rows = found.map(({ id, rank, below, adjusted }, order) => {
    const raw = Math.exp(record.best_logprob - below);
    const penalties = Math.exp(adjusted - record.adjusted_log_total);
    const isBest = record.adjusted_best - adjusted < ABOUT && order === 0;
    const mass = isGreedy ? Number(isBest) : record.best_mass * Math.exp((adjusted - record.adjusted_best) * sharpness);
    const isPlaceKnown = adjusted >= reach - ABOUT; // nothing outside the 20 is in front of it
    const isKept = isGreedy
      ? isBest
      : isPlaceKnown
        ? order < record.kept
        : record.adjusted_best - adjusted <= record.floor + ABOUT;
    const cut = isKept ? null : cutOf({ order, mass, before, isGreedy }, record, settings);
    /** @type {Row} */
    const row = { id, rank, raw, penalties, temperature: mass, top_k: mass, top_p: mass, min_p: mass, drawn: 0, cut, from: 0, isPlaceKnown };
    for (const name of /** @type {const} */ (["top_k", "top_p", "min_p"])) {
      if (cut && stageOf(cut) <= stageOf({ by: name })) row[name] = 0;
    }
    if (isKept) row.drawn = mass / record.kept_mass;
    before += mass;
    return row;
  });
  let from = 0;
  for (const row of rows) {
    row.from = row.isPlaceKnown ? from : row.id === record.token ? record.below : null;
    from += row.drawn;
  }
  const rest = (/** @type {"raw" | "penalties" | "temperature" | "drawn"} */ name) => Math.max(0, 1 - rows.reduce((sum, row) => sum + row[name], 0));
  const keptHere = rows.filter((row) => !row.cut).length;
  return {
    rows,
    rest: { raw: rest("raw"), penalties: rest("penalties"), temperature: isGreedy ? 0 : rest("temperature"), drawn: record.kept > keptHere ? rest("drawn") : 0 },
    keptElsewhere: Math.max(0, record.kept - keptHere),
    winner: isGreedy ? rows[0].id : winnerOf(rows, record.uniform),
  };
}

/** @param {{ by: string }} cut */
const stageOf = ({ by }) => ["temperature", "top_k", "top_p", "min_p"].indexOf(by === "greedy" ? "temperature" : by);

/**
 * The first sampler, in order, that surely took a candidate away, with its numbers.
 * @param {{ order: number, mass: number, before: number, isGreedy: boolean }} row
 * @param {TokenRecord} record
 * @param {Settings} settings
 * @returns {Cut}
 */
function cutOf({ order, mass, before, isGreedy }, record, { top_k, top_p, min_p }) {
  if (isGreedy) return { by: "greedy" };
  if (top_k > 0 && order >= top_k) return { by: "top_k", limit: top_k, place: order + 1 };
  if (top_p < 1 && before >= top_p * record.mass_k - 1e-6) return { by: "top_p", limit: top_p, before: before / record.mass_k };
  if (min_p > 0 && mass < min_p * record.best_mass * (1 + 1e-5)) return { by: "min_p", limit: min_p, best: record.best_mass, mass };
  return top_k > 0 ? { by: "top_k", limit: top_k } : { by: "top_p", limit: top_p };
}

/**
 * The candidate in whose interval the number lies; null where that is outside of those stored.
 * @param {Row[]} rows in the order of the draw
 * @param {number} uniform
 */
function winnerOf(rows, uniform) {
  let end = 0;
  let last = null;
  for (const row of rows) {
    if (row.cut || row.from === null) continue;
    end = row.from + row.drawn;
    last = row.id;
    if (uniform >= row.from - 1e-6 && uniform < end) return row.id;
  }
  // Rounding may leave the number at the very end: the last one takes it.
  return end > 1 - 1e-6 ? last : null;
}

/**
 * How often each candidate would win with other settings, as ranges [low, high].
 *
 * Penalties stay as they were. `vocabulary` is how many tokens the model knows.
 * @param {TokenRecord} record
 * @param {Settings} own the request's settings
 * @param {Settings} asked
 * @param {Seen} seen
 * @param {number} vocabulary
 * @returns {Recomputed}
 */
export function recompute(record, own, asked, seen, vocabulary) {
  const { found, reach } = candidatesOf(record, own, seen);
  if (asked.temperature <= 0) {
    return { rows: found.map(({ id, rank }, order) => ({ id, rank, low: Number(order === 0), high: Number(order === 0), isCut: order > 0 })), rest: [0, 0] };
  }
  const sharpness = 1 / asked.temperature;
  const masses = found.map(({ adjusted }) => Math.exp((adjusted - record.adjusted_best) * sharpness)); // of the largest's
  const sumOf = (/** @type {number} */ count) => masses.slice(0, count).reduce((sum, mass) => sum + mass, 0);
  const rest = restAt(sharpness, record, own, found, reach, vocabulary);
  const largestRest = rest[1] > 0 ? Math.min(1, Math.exp((reach - record.adjusted_best) * sharpness)) : 0;
  // In front of these nothing else can stand; of the others only the smallest place is known.
  const certain = rest[1] > 0 ? found.filter(({ adjusted }) => adjusted >= reach - ABOUT).length : found.length;
  const most = asked.top_k > 0 ? asked.top_k : Infinity;
  const restK = [most === Infinity ? rest[0] : 0, Math.min(rest[1], Math.max(0, most - certain) * largestRest)];
  const massK = [sumOf(most) + restK[0], sumOf(most) + restK[1]];
  const isAboveMinP = (/** @type {number} */ mass) => mass >= asked.min_p;
  // A candidate stays while those in front of it don't hold enough: surely, or perhaps.
  const kept = masses.map((mass, order) => {
    const before = sumOf(order);
    const isFirst = record.adjusted_best - found[order].adjusted < ABOUT && order === 0;
    const ahead = order < certain ? 0 : rest[1];
    const isPlaceSure = order < certain ? order < most : most === Infinity;
    return {
      isPossible: isFirst || (order < most && before < asked.top_p * massK[1] + 1e-6 && isAboveMinP(mass * (1 + 1e-5))),
      isSure: isFirst || (isPlaceSure && before + ahead < asked.top_p * massK[0] - 1e-6 && isAboveMinP(mass * (1 - 1e-5))),
    };
  });
  const front = sumOf(certain);
  let restHigh = isAboveMinP(largestRest) && certain < most ? restK[1] : 0;
  if (asked.top_p < 1) restHigh = Math.min(restHigh, front < asked.top_p * massK[1] ? asked.top_p * massK[1] - front + largestRest : 0);
  let restLow = most === Infinity && asked.min_p <= 0 ? rest[0] : 0;
  if (asked.top_p < 1) restLow = Math.min(restLow, Math.max(0, asked.top_p * massK[0] - sumOf(most)));
  const keptSum = (/** @type {"isSure" | "isPossible"} */ how) => masses.reduce((sum, mass, order) => (kept[order][how] ? sum + mass : sum), 0);
  const totals = [keptSum("isSure") + restLow, keptSum("isPossible") + restHigh];
  const rows = found.map(({ id, rank }, order) => ({
    id,
    rank,
    low: kept[order].isSure ? masses[order] / totals[1] : 0,
    high: kept[order].isPossible ? Math.min(1, masses[order] / Math.max(totals[0], masses[order])) : 0,
    isCut: !kept[order].isPossible,
  }));
  return { rows, rest: [restLow / totals[1], totals[1] > 0 ? Math.min(1, restHigh / Math.max(totals[0], restHigh)) : 0] };
}

/**
 * The mass of all tokens but the stored ones at 1 / temperature, relative to the largest's: a range.
 *
 * Known are its sum at temperature 1 and at the request's own; no token in it is likelier than the
 * last stored one. The log of a sum of powers is convex in the exponent, so that between two known
 * points it lies under their chord, and beyond them over it.
 * @param {number} sharpness
 * @param {TokenRecord} record
 * @param {Settings} own
 * @param {{ adjusted: number }[]} found
 * @param {number} reach
 * @param {number} vocabulary
 * @returns {[number, number]}
 */
function restAt(sharpness, record, own, found, reach, vocabulary) {
  const count = vocabulary - found.length;
  if (count <= 0) return [0, 0];
  const restOf = (/** @type {number} */ total, /** @type {number} */ power) =>
    Math.max(0, total - found.reduce((sum, { adjusted }) => sum + Math.exp((adjusted - record.adjusted_best) * power), 0));
  const total = Math.exp(record.adjusted_log_total - record.adjusted_best);
  const slack = 2e-6 * total; // sums are stored as 32-bit floats
  const atOne = restOf(total, 1);
  const largest = Math.min(1, Math.exp(reach - record.adjusted_best));
  const bounds = (/** @type {number} */ rest) => {
    const byLargest = rest * largest ** (sharpness - 1);
    const byEven = count * (rest / count) ** sharpness;
    return [Math.min(byLargest, byEven), Math.max(byLargest, byEven)];
  };
  let low = bounds(Math.max(0, atOne - slack))[0];
  let high = Math.min(bounds(atOne + slack)[1], count * largest ** sharpness);
  const power = own.temperature > 0 ? 1 / own.temperature : 1;
  if (Math.abs(power - 1) > 1e-6) {
    const ownTotal = 1 / record.best_mass;
    const atOwn = restOf(ownTotal, power);
    const ownSlack = 2e-6 * ownTotal;
    if (atOwn > 3 * ownSlack && atOne > 3 * slack) {
      const lineThrough = (/** @type {number} */ one, /** @type {number} */ mine) =>
        Math.exp(Math.log(one) + ((sharpness - 1) / (power - 1)) * (Math.log(mine) - Math.log(one)));
      const corners = [lineThrough(atOne - slack, atOwn - ownSlack), lineThrough(atOne - slack, atOwn + ownSlack),
        lineThrough(atOne + slack, atOwn - ownSlack), lineThrough(atOne + slack, atOwn + ownSlack)];
      const isBetween = (sharpness - 1) * (sharpness - power) <= 0;
      if (isBetween) high = Math.min(high, Math.max(...corners));
      else low = Math.max(low, Math.min(...corners));
    }
  }
  return [Math.min(low, high), high];
}
