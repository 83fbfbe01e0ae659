// The shapes of the latency pages' data, for the checker alone: nothing here runs.

/** @typedef {(number | null)[]} Column */

/**
 * @typedef {object} BoardData chatsite/dashboards/latency/exports.py's as_json
 * @property {string} timezone
 * @property {number} bucket_s
 * @property {number[]} unfinished_s starts of slices that aren't whole
 * @property {Record<string, Column> & { start_s: number[] }} series columns over time by name
 */

/** @typedef {Record<string, string | undefined>} Words an element's data attributes: the page's own words */
/** @typedef {(from: number, to: number) => void} Zoom Unix seconds */
/** @typedef {{ columns: Column[], [option: string]: unknown }} ChartOptions uPlot's, and the columns */

export {};
