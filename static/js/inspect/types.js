// The shapes that the modules of this folder hand each other. Nothing here runs.

/**
 * How one token was chosen: docs/measures.md, One token.
 * @typedef {object} TokenRecord
 * @property {number} token
 * @property {number} rank
 * @property {number} best_logit
 * @property {number} best_logprob
 * @property {number} below_best
 * @property {number} entropy
 * @property {number} adjusted_best
 * @property {number} adjusted_log_total
 * @property {number} best_mass
 * @property {number} mass_k
 * @property {number} kept_mass
 * @property {number} kept
 * @property {number} floor
 * @property {number} drawn_logprob
 * @property {number} below
 * @property {number} uniform
 * @property {number} width
 * @property {number[]} candidates
 * @property {number[]} candidates_below_best
 */

/**
 * @typedef {object} Settings
 * @property {number} temperature
 * @property {number} top_k
 * @property {number} top_p
 * @property {number} min_p
 * @property {number} repetition_penalty
 * @property {number} presence_penalty
 * @property {number} frequency_penalty
 */

/** @typedef {{ isThere: (id: number) => boolean, inAnswer: (id: number) => number, ids: () => Iterable<number> }} Seen what penalties look at */

/** @typedef {{ by: "greedy" | "top_k" | "top_p" | "min_p", limit?: number, place?: number, before?: number, best?: number, mass?: number }} Cut */

/**
 * One candidate behind each sampler; 0 where it is cut. `from`: where its interval of the draw begins, null
 * where that isn't known.
 * Without `isPlaceKnown` tokens that aren't stored may stand in front of it: whether an earlier sampler than
 * the one that `cut` names had taken it away already can't be told.
 * @typedef {{ id: number, rank: number, raw: number, penalties: number, temperature: number, top_k: number, top_p: number, min_p: number, drawn: number, from: number | null, cut: Cut | null, isPlaceKnown: boolean }} Row
 */

/** @typedef {{ rows: Row[], rest: { raw: number, penalties: number, temperature: number, drawn: number }, keptElsewhere: number, winner: number | null }} Replayed */
/** @typedef {{ rows: { id: number, rank: number, low: number, high: number, isCut: boolean }[], rest: number[] }} Recomputed */

/** @typedef {Record<string, number | string | null>} RequestFigures */
/** @typedef {{ ids: number[], owners: number[] | null, cached: number, cache: { saved_us: number | null, requests: number } }} Prompt */

/**
 * What the site sends: chatsite/inspect/answer_data.py.
 * @typedef {object} AnswerData
 * @property {number} count
 * @property {Record<string, string>} columns
 * @property {string[]} texts
 * @property {Record<string, [string, number]>} pieces
 * @property {number[]} ends
 * @property {number | null} vocabulary
 * @property {Settings} sampling
 * @property {RequestFigures[]} requests
 * @property {number | null} branched_at
 * @property {Version[]} versions
 * @property {Prompt | null} prompt
 */

/** @typedef {{ id: string, at: number, count: number, texts: string[], is_cut: boolean, logprob: number | null, is_this: boolean }} Version */

/** @typedef {{ kind: "prompt" | "answer", place: number }} Place a token of the prompt or of the answer */

export {};
