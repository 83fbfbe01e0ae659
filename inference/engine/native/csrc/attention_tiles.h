// Some rows of queries against a segment of one head's keys and values: the inner part of
// attention.
#pragma once
#include <algorithm>
#include <array>
#include <utility>

#include "attention.h"
#include "matrix.h"

namespace chatsite {

constexpr int KEYS = 16;        // tokens of a key tile
constexpr int CHUNK = 128;      // tokens whose weights are held at once
constexpr int SEGMENT = 512;    // tokens that one unit of work reads
constexpr int MAX_ROWS = 16;    // (token, head) pairs of a unit that share their keys and values
constexpr int VECTOR_ROWS = 6;  // the same on vector registers
constexpr int MAX_DIM = 512;
constexpr float NO_SCORE = -1e30f;  // the maximum of no scores; finite, so that differences are too

// The rows of a unit and what has been seen so far.
struct Rows {
  alignas(64) bf16 query[MAX_ROWS * MAX_DIM];
  alignas(64) float sum[MAX_ROWS * MAX_DIM];  // of weights times values
  float max[MAX_ROWS], weight[MAX_ROWS];      // of scores; sum of weights
  int64_t begin[MAX_ROWS], end[MAX_ROWS];     // positions each row may see
};

// Where a tile of sixteen tokens lies, for one head.
struct PageReader {
  const bf16 *keys, *values;
  const int32_t* table;
  int64_t page_elements, page_tokens, dim;

  int64_t offset(int64_t position) const {
    return table[position / page_tokens] * page_elements + position % page_tokens * dim;
  }
};

// What the next unit of work reads: positions `begin` to `end` of its context.
struct NextUnit {
  PageReader pages;
  int64_t begin, end;
};

inline void prefetch_tile(const bf16* tile, int64_t dim) {
  for (int64_t i = 0; i < KEYS * dim; i += 32) prefetch(tile + i);
}

// Sixteen tokens each.
struct Tiles {
  const bf16 *keys[CHUNK / KEYS], *values[CHUNK / KEYS];
};

// How many key tiles, or vectors of dimensions, the rows are multiplied with at once: as many sums
// as registers hold beside the factors.
template <int ROWS>
constexpr int VECTORS_TOGETHER = REGISTERS >= 32 ? 4
                                 : ROWS == 1     ? 4
                                 : ROWS == 2     ? 2
                                                 : 1;

// ROWS rows against COUNT key tiles: scores (ROWS, CHUNK) at the tiles' places. With each line that
// is read, the line at its place `ahead` is asked for.
template <int ROWS, int COUNT>
void score(const bf16* query, const bf16* const* keys, const bf16* const* ahead, int64_t dim,
           float scale, float* scores) {
  F32 sum[ROWS][COUNT];
  EACH(r, ROWS)
  EACH(c, COUNT) sum[r][c] = splat(0.f);
  for (int64_t d = 0; d < dim; d += 2) {
    Bf16Pairs k[COUNT];
    EACH(c, COUNT) {
      k[c] = bf16_pairs(keys[c] + d * KEYS);
      prefetch_far(ahead[c] + d * KEYS);
    }
    EACH(r, ROWS) {
      const Bf16Pairs q = repeat_bf16_pair(query + r * dim + d);
      EACH(c, COUNT) dot_bf16(sum[r][c], q, k[c]);
    }
  }
  const F32 scales = splat(scale);
  EACH(r, ROWS)
  EACH(c, COUNT) store(scores + r * CHUNK + c * KEYS, sum[r][c] * scales);
}

// Add weights (ROWS, CHUNK) times the values of `tiles` tiles, COUNT vectors of dimensions at `d`.
template <int ROWS, int COUNT>
void add_values(const bf16* weights, const bf16* const* values, const bf16* const* ahead, int tiles,
                int64_t dim, int64_t d, const float* decay, float* out) {
  F32 sum[ROWS][COUNT];
  EACH(r, ROWS)
  EACH(c, COUNT) sum[r][c] = load(out + r * dim + d + c * LANES) * splat(decay[r]);
  for (int t = 0; t < tiles; t++)
    for (int pair = 0; pair < KEYS / 2; pair++) {
      Bf16Pairs v[COUNT];
      EACH(c, COUNT) {
        v[c] = bf16_pairs(values[t] + (pair * dim + d + c * LANES) * 2);
        prefetch_far(ahead[t] + (pair * dim + d + c * LANES) * 2);
      }
      EACH(r, ROWS) {
        const Bf16Pairs w = repeat_bf16_pair(weights + r * CHUNK + t * KEYS + pair * 2);
        EACH(c, COUNT) dot_bf16(sum[r][c], w, v[c]);
      }
    }
  EACH(r, ROWS)
  EACH(c, COUNT) store(out + r * dim + d + c * LANES, sum[r][c]);
}

#if defined(__AMX_TILE__)
// The same two on matrix registers. Their sums run in another order than those above.
template <int ROWS, int COUNT>
void matrix_score(const bf16* query, const bf16* const* keys, const bf16* const* ahead, int64_t dim,
                  float scale, float* scores) {
  constexpr int64_t DEPTH = 16, STEP = 2 * DEPTH, KEY_ROW = KEYS * 2 * sizeof(bf16);
  set_matrix_shape({ROWS, ROWS, DEPTH});
  clear_matrices<COUNT>();
  for (int64_t d = 0; d < dim; d += STEP) {
    load_matrix<6>(query + d, dim * sizeof(bf16));
    each_of<COUNT>([&]<int C>() {
      load_matrix<4 + C % 2>(keys[C] + d * KEYS, KEY_ROW);
      multiply_bf16<C, 6, 4 + C % 2>();
      for (int64_t i = 0; i < STEP; i += 2) prefetch_far(ahead[C] + (d + i) * KEYS);
    });
  }
  each_of<COUNT>([&]<int C>() { store_matrix<C>(scores + C * KEYS, CHUNK * sizeof(float)); });
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < COUNT; c++) {
      float* at = scores + r * CHUNK + c * KEYS;
      store(at, load(at) * splat(scale));
    }
}

template <int ROWS, int COUNT>
void matrix_add_values(const bf16* weights, const bf16* const* values, const bf16* const* ahead,
                       int tiles, int64_t dim, int64_t d, const float* decay, float* out) {
  constexpr int64_t DEPTH = KEYS / 2;  // a tile of tokens at a time: the next may lie elsewhere
  set_matrix_shape({ROWS, ROWS, DEPTH});
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < COUNT; c++) {
      float* at = out + r * dim + d + c * LANES;
      store(at, load(at) * splat(decay[r]));
    }
  each_of<COUNT>([&]<int C>() { load_matrix<C>(out + d + C * LANES, dim * sizeof(float)); });
  for (int t = 0; t < tiles; t++) {
    load_matrix<6>(weights + t * KEYS, CHUNK * sizeof(bf16));
    each_of<COUNT>([&]<int C>() {
      load_matrix<4 + C % 2>(values[t] + (d + C * LANES) * 2, dim * 2 * sizeof(bf16));
      multiply_bf16<C, 6, 4 + C % 2>();
      for (int64_t pair = 0; pair < DEPTH; pair++)
        prefetch_far(ahead[t] + (pair * dim + d + C * LANES) * 2);
    });
  }
  each_of<COUNT>([&]<int C>() { store_matrix<C>(out + d + C * LANES, dim * sizeof(float)); });
}
#endif

// Either of the two, on the registers that are wanted.
template <int ROWS, int COUNT, bool MATRIX, class... Args> inline void run_score(Args... args) {
#if defined(__AMX_TILE__)
  if constexpr (MATRIX) return matrix_score<ROWS, COUNT>(args...);
#endif
  score<ROWS, COUNT>(args...);
}

template <int ROWS, int COUNT, bool MATRIX, class... Args>
inline void run_add_values(Args... args) {
#if defined(__AMX_TILE__)
  if constexpr (MATRIX) return matrix_add_values<ROWS, COUNT>(args...);
#endif
  add_values<ROWS, COUNT>(args...);
}

// One row's scores of a chunk become weights under its running maximum; returns what the earlier
// ones shrink by.
inline float online_softmax(float* scores, bf16* weights, int count, int64_t chunk, int64_t begin,
                            int64_t end, float softcap, float& max, float& weight) {
  if (softcap > 0)
    for (int i = 0; i < count; i += LANES) {
      const F32 s = load(scores + i) / splat(softcap);
      store(scores + i, splat(softcap) * tanh(s));
    }
  const bool cut = begin > chunk || end < chunk + count;
  const int low = int(std::clamp<int64_t>(begin - chunk, 0, CHUNK));
  const int high = int(std::clamp<int64_t>(end - chunk, 0, CHUNK));
  const auto seen = [&](int i) { return cut ? lanes_between(low - i, high - i) : all_lanes(); };
  F32 largest = splat(max);
  for (int i = 0; i < count; i += LANES)
    largest = select(seen(i), maximum(largest, load(scores + i)), largest);
  const float now = reduce_max(largest);
  const float shrink = exp(max - now);
  max = now;
  F32 total = splat(0.f);
  for (int i = 0; i < count; i += LANES) {
    const F32 w = select(seen(i), exp(load(scores + i) - splat(now)), splat(0.f));
    total = total + w;
    store_bf16(weights + i, w);
  }
  weight = weight * shrink + reduce_add(total);
  return shrink;
}

// The rows against a segment of the context. The next unit mostly reads as much: while a tile is
// computed with, the next unit's tile at the same place is asked for, so that the memory is kept as
// busy as the arithmetic and not in turn with it. Where there is none, the own one is, which is at
// hand. A unit that nobody asked for (`is_cold`) asks for its own tiles besides.
template <int ROWS, bool MATRIX>
void attend_rows(Rows& rows, const PageReader& pages, int64_t segment, bool is_cold,
                 const NextUnit& ahead, float scale, float softcap) {
  constexpr int TOGETHER = MATRIX ? 4 : VECTORS_TOGETHER<ROWS>;
  alignas(64) float scores[ROWS * CHUNK];
  alignas(64) bf16 weights[ROWS * CHUNK];
  const int64_t dim = pages.dim;
  int64_t begin = rows.begin[0], end = rows.end[0];
  for (int r = 0; r < ROWS; r++) {
    rows.max[r] = NO_SCORE;
    rows.weight[r] = 0;
    begin = std::min(begin, rows.begin[r]);
    end = std::max(end, rows.end[r]);
  }
  std::fill_n(rows.sum, ROWS * dim, 0.f);
  begin = std::max(begin / CHUNK * CHUNK, segment * SEGMENT);
  end = std::min(end, (segment + 1) * SEGMENT);
  for (int64_t chunk = begin; chunk < end; chunk += CHUNK) {
    const int tiles = int((std::min<int64_t>(CHUNK, end - chunk) + KEYS - 1) / KEYS);
    Tiles own, next;
    for (int t = 0; t < tiles; t++) {
      const int64_t at = pages.offset(chunk + t * KEYS),
                    then = ahead.begin + chunk - begin + t * KEYS;
      next.keys[t] = own.keys[t] = pages.keys + at;
      next.values[t] = own.values[t] = pages.values + at;
      if (then < ahead.end) {
        const int64_t next_at = ahead.pages.offset(then);
        next.keys[t] = ahead.pages.keys + next_at;
        next.values[t] = ahead.pages.values + next_at;
      }
    }
    for (int t = 0; is_cold && t < tiles; t++)
      prefetch_tile(own.values[t], dim);  // they come during the scores
    int t = 0;
    for (; t + TOGETHER <= tiles; t += TOGETHER)
      run_score<ROWS, TOGETHER, MATRIX>(rows.query, own.keys + t, next.keys + t, dim, scale,
                                        scores + t * KEYS);
    for (; t < tiles; t++)
      run_score<ROWS, 1, MATRIX>(rows.query, own.keys + t, next.keys + t, dim, scale,
                                 scores + t * KEYS);
    float decay[ROWS];
    for (int r = 0; r < ROWS; r++)
      decay[r] = online_softmax(scores + r * CHUNK, weights + r * CHUNK, tiles * KEYS, chunk,
                                rows.begin[r], rows.end[r], softcap, rows.max[r], rows.weight[r]);
    for (int64_t at = chunk + CHUNK; is_cold && at < std::min(end, chunk + 2 * CHUNK); at += KEYS)
      prefetch_tile(pages.keys + pages.offset(at), dim);
    int64_t d = 0;
    for (; d + TOGETHER * LANES <= dim; d += TOGETHER * LANES)
      run_add_values<ROWS, TOGETHER, MATRIX>(weights, own.values, next.values, tiles, dim, d, decay,
                                             rows.sum);
    for (; d < dim; d += LANES)
      run_add_values<ROWS, 1, MATRIX>(weights, own.values, next.values, tiles, dim, d, decay,
                                      rows.sum);
  }
}

using AttendRows = void (*)(Rows&, const PageReader&, int64_t, bool, const NextUnit&, float, float);

template <int MAX, bool MATRIX> const AttendRows* attend_by_rows() {
  static constexpr auto table = []<size_t... I>(std::index_sequence<I...>) {
    return std::array<AttendRows, MAX>{&attend_rows<int(I) + 1, MATRIX>...};
  }
  (std::make_index_sequence<MAX>());
  return table.data();
}

// What attends for 1 to rows_together() rows.
inline const AttendRows* attend_by_rows() {
  if constexpr (HAS_MATRIX)
    if (use_matrix()) return attend_by_rows<MAX_ROWS, true>();
  return attend_by_rows<VECTOR_ROWS, false>();
}

inline int64_t rows_together() { return use_matrix() ? MAX_ROWS : VECTOR_ROWS; }

}  // namespace chatsite
