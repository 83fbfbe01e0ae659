// See attention.h for how pages lie and why contexts are cut as they are.
#include "attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace chatsite {
namespace {

constexpr int KEYS = 16;        // tokens of a key tile
constexpr int CHUNK = 128;      // tokens whose weights are held at once
constexpr int SEGMENT = 512;    // tokens that one unit of work reads
constexpr int MAX_ROWS = 6;     // (token, head) pairs of a unit that share their keys and values
constexpr int MAX_DIM = 512;
constexpr float NOTHING = -1e30f;  // the maximum of no scores; finite, so that differences are too

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

void ask_for(const bf16* tile, int64_t dim) {
  for (int64_t i = 0; i < KEYS * dim; i += 32) prefetch(tile + i);
}

// Sixteen tokens each.
struct Tiles {
  const bf16 *keys[CHUNK / KEYS], *values[CHUNK / KEYS];
};

// ROWS rows against COUNT key tiles: scores (ROWS, CHUNK) at the tiles' places. With each line that is
// read, the line at its place `ahead` is asked for.
template <int ROWS, int COUNT>
void score(const bf16* query, const bf16* const* keys, const bf16* const* ahead, int64_t dim, float scale,
           float* scores) {
  Floats sum[ROWS][COUNT];
  _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++)
    _Pragma("GCC unroll 8") for (int c = 0; c < COUNT; c++) sum[r][c] = all(0.f);
  for (int64_t d = 0; d < dim; d += 2) {
    Words k[COUNT];
    _Pragma("GCC unroll 8") for (int c = 0; c < COUNT; c++) {
      k[c] = load_words(keys[c] + d * KEYS);
      prefetch_far(ahead[c] + d * KEYS);
    }
    _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++) {
      const Words q = repeat4(query + r * dim + d);
      _Pragma("GCC unroll 8") for (int c = 0; c < COUNT; c++) dot_bf16(sum[r][c], q, k[c]);
    }
  }
  const Floats scales = all(scale);
  _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++)
    _Pragma("GCC unroll 8") for (int c = 0; c < COUNT; c++)
      store(scores + r * CHUNK + c * KEYS, _mm512_mul_ps(sum[r][c], scales));
}

// Add weights (ROWS, CHUNK) times the values of `tiles` tiles, COUNT vectors of dimensions at `d`.
template <int ROWS, int COUNT>
void add_values(const bf16* weights, const bf16* const* values, const bf16* const* ahead, int tiles, int64_t dim,
                int64_t d, const float* decay, float* out) {
  Floats sum[ROWS][COUNT];
  _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++)
    _Pragma("GCC unroll 8") for (int c = 0; c < COUNT; c++)
      sum[r][c] = _mm512_mul_ps(load(out + r * dim + d + c * LANES), all(decay[r]));
  for (int t = 0; t < tiles; t++)
    for (int pair = 0; pair < KEYS / 2; pair++) {
      Words v[COUNT];
      _Pragma("GCC unroll 8") for (int c = 0; c < COUNT; c++) {
        v[c] = load_words(values[t] + (pair * dim + d + c * LANES) * 2);
        prefetch_far(ahead[t] + (pair * dim + d + c * LANES) * 2);
      }
      _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++) {
        const Words w = repeat4(weights + r * CHUNK + t * KEYS + pair * 2);
        _Pragma("GCC unroll 8") for (int c = 0; c < COUNT; c++) dot_bf16(sum[r][c], w, v[c]);
      }
    }
  _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++)
    _Pragma("GCC unroll 8") for (int c = 0; c < COUNT; c++) store(out + r * dim + d + c * LANES, sum[r][c]);
}

// One row's scores of a chunk become weights under its running maximum; returns what the earlier
// ones shrink by.
float soften(float* scores, bf16* weights, int count, int64_t chunk, int64_t begin, int64_t end, float softcap,
             float& max, float& weight) {
  if (softcap > 0)
    for (int i = 0; i < count; i += LANES) {
      const Floats s = _mm512_div_ps(load(scores + i), all(softcap));
      store(scores + i, _mm512_mul_ps(all(softcap), tanh(s)));
    }
  const bool cut = begin > chunk || end < chunk + count;
  const auto seen = [&](int i) -> __mmask16 {
    if (!cut) return 0xffff;
    const __m512i at = _mm512_add_epi32(_mm512_set1_epi32(i), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const int64_t low = std::clamp<int64_t>(begin - chunk, 0, CHUNK), high = std::clamp<int64_t>(end - chunk, 0, CHUNK);
    return _mm512_cmpge_epi32_mask(at, _mm512_set1_epi32(int(low))) & _mm512_cmplt_epi32_mask(at, _mm512_set1_epi32(int(high)));
  };
  Floats largest = all(max);
  for (int i = 0; i < count; i += LANES) largest = _mm512_mask_max_ps(largest, seen(i), largest, load(scores + i));
  const float now = _mm512_reduce_max_ps(largest);
  const float shrink = exp(max - now);
  max = now;
  Floats total = all(0.f);
  for (int i = 0; i < count; i += LANES) {
    const Floats w = _mm512_maskz_mov_ps(seen(i), exp(_mm512_sub_ps(load(scores + i), all(now))));
    total = _mm512_add_ps(total, w);
    store_bf16(weights + i, w);
  }
  weight = weight * shrink + _mm512_reduce_add_ps(total);
  return shrink;
}

// The rows against a segment of the context. The next unit mostly reads as much: while a tile is
// computed with, the next unit's tile at the same place is asked for, so that the memory is kept as
// busy as the arithmetic and not in turn with it. Where there is none, the own one is, which is at hand.
// A unit that nobody asked for (`is_cold`) asks for its own tiles besides.
template <int ROWS>
void attend_rows(Rows& rows, const PageReader& pages, int64_t segment, bool is_cold, const NextUnit& ahead, float scale,
                 float softcap) {
  alignas(64) float scores[ROWS * CHUNK];
  alignas(64) bf16 weights[ROWS * CHUNK];
  const int64_t dim = pages.dim;
  int64_t begin = rows.begin[0], end = rows.end[0];
  for (int r = 0; r < ROWS; r++) {
    rows.max[r] = NOTHING;
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
      const int64_t at = pages.offset(chunk + t * KEYS), then = ahead.begin + chunk - begin + t * KEYS;
      next.keys[t] = own.keys[t] = pages.keys + at;
      next.values[t] = own.values[t] = pages.values + at;
      if (then < ahead.end) {
        const int64_t next_at = ahead.pages.offset(then);
        next.keys[t] = ahead.pages.keys + next_at;
        next.values[t] = ahead.pages.values + next_at;
      }
    }
    for (int t = 0; is_cold && t < tiles; t++) ask_for(own.values[t], dim);  // they come during the scores
    int t = 0;
    for (; t + 4 <= tiles; t += 4) score<ROWS, 4>(rows.query, own.keys + t, next.keys + t, dim, scale, scores + t * KEYS);
    for (; t < tiles; t++) score<ROWS, 1>(rows.query, own.keys + t, next.keys + t, dim, scale, scores + t * KEYS);
    float decay[ROWS];
    for (int r = 0; r < ROWS; r++)
      decay[r] = soften(scores + r * CHUNK, weights + r * CHUNK, tiles * KEYS, chunk, rows.begin[r], rows.end[r],
                        softcap, rows.max[r], rows.weight[r]);
    for (int64_t at = chunk + CHUNK; is_cold && at < std::min(end, chunk + 2 * CHUNK); at += KEYS)
      ask_for(pages.keys + pages.offset(at), dim);
    int64_t d = 0;
    for (; d + 4 * LANES <= dim; d += 4 * LANES)
      add_values<ROWS, 4>(weights, own.values, next.values, tiles, dim, d, decay, rows.sum);
    for (; d < dim; d += LANES) add_values<ROWS, 1>(weights, own.values, next.values, tiles, dim, d, decay, rows.sum);
  }
}

using AttendRows = void (*)(Rows&, const PageReader&, int64_t, bool, const NextUnit&, float, float);
constexpr AttendRows ATTEND[MAX_ROWS] = {attend_rows<1>, attend_rows<2>, attend_rows<3>,
                                         attend_rows<4>, attend_rows<5>, attend_rows<6>};

void to_bf16(const float* from, int64_t begin, int64_t dim, bf16* to) {
  for (int64_t d = begin; d < dim; d += LANES) store_bf16(to + d, load(from + d));
}

void rotate(const float* from, const float* cos, const float* sin, int64_t rope_dim, int64_t dim, bf16* to) {
  const int64_t half = rope_dim / 2;
  for (int64_t d = 0; d < half; d += LANES) {
    const int64_t left = half - d;
    const __mmask16 mask = left >= LANES ? 0xffff : __mmask16((1u << left) - 1);
    const Floats a = _mm512_maskz_loadu_ps(mask, from + d), b = _mm512_maskz_loadu_ps(mask, from + half + d);
    const Floats c = _mm512_maskz_loadu_ps(mask, cos + d), s = _mm512_maskz_loadu_ps(mask, sin + d);
    const Floats x = _mm512_fnmadd_ps(b, s, _mm512_mul_ps(a, c)), y = _mm512_fmadd_ps(a, s, _mm512_mul_ps(b, c));
    _mm256_mask_storeu_epi16(to + d, mask, (__m256i)_mm512_cvtneps_pbh(x));
    _mm256_mask_storeu_epi16(to + half + d, mask, (__m256i)_mm512_cvtneps_pbh(y));
  }
  for (int64_t d = rope_dim; d < dim; d += LANES) {
    const int64_t left = dim - d;
    const __mmask16 mask = left >= LANES ? 0xffff : __mmask16((1u << left) - 1);
    _mm256_mask_storeu_epi16(to + d, mask, (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + d)));
  }
}

void prepare_head(const float* from, const Rope& rope, const Step& step, int64_t token, int64_t dim, bf16* to) {
  if (!rope) return to_bf16(from, 0, dim, to);
  const int64_t row = rope.row(step, token);
  rotate(from, rope.cos + row, rope.sin + row, rope.dim, dim, to);
}

// Put token `t`'s key and value of one head into its page.
void write_token(const Step& step, const Heads& heads, const Rope& rope, const Pages& pages, int64_t t, int64_t head) {
  const int64_t dim = pages.dim, page = step.slots[t] / pages.page_tokens, place = step.slots[t] % pages.page_tokens;
  alignas(64) bf16 key[MAX_DIM], value[MAX_DIM];
  prepare_head(heads.key + t * heads.key_stride + head * dim, rope, step, t, dim, key);
  to_bf16(heads.value + t * heads.value_stride + head * dim, 0, dim, value);
  const int64_t tile = page * pages.page_elements() + (head * pages.page_tokens + place / KEYS * KEYS) * dim;
  const int64_t lane = place % KEYS;
  bf16* k = pages.keys + tile + lane * 2;
  for (int64_t d = 0; d < dim; d += 2) std::memcpy(k + d * KEYS, key + d, 4);
  bf16* v = pages.values + tile + lane / 2 * dim * 2 + lane % 2;
  for (int64_t d = 0; d < dim; d++) v[2 * d] = value[d];
}

// One row's final result: weights summed over its parts and the sink, then to where it belongs.
struct Part {
  float *sum, *max, *weight;
};

void finish_row(Part* parts, int64_t count, const float* sink, int64_t dim, Activations* out, float* floats,
                int64_t token, int64_t first_group) {
  float max = NOTHING;
  for (int64_t p = 0; p < count; p++) max = std::max(max, *parts[p].max);
  if (sink) max = std::max(max, *sink);
  float weight = 0;
  alignas(64) float sum[MAX_DIM];
  for (int64_t p = 0; p < count; p++) {
    const float share = exp(*parts[p].max - max);
    weight = p ? weight + *parts[p].weight * share : *parts[p].weight * share;
    for (int64_t d = 0; d < dim; d += LANES) {
      const Floats add = _mm512_mul_ps(load(parts[p].sum + d), all(share));
      store(sum + d, p ? _mm512_add_ps(load(sum + d), add) : add);
    }
  }
  if (sink) weight += exp(*sink - max);
  const Floats inverse = all(1 / weight);
  for (int64_t d = 0; d < dim; d += LANES) store(sum + d, _mm512_mul_ps(load(sum + d), inverse));
  if (floats)
    std::copy_n(sum, dim, floats);
  else
    for (int64_t d = 0; d < dim; d += GROUP) put_group(*out, token, first_group + d / GROUP, load(sum + d), load(sum + d + LANES));
}

}  // namespace

AttentionPlan::AttentionPlan(const Step& step, int64_t query_heads, int64_t kv_heads)
    : group(query_heads / kv_heads), step_(step), kv_heads_(kv_heads) {
  const int64_t most = std::max<int64_t>(1, MAX_ROWS / group);
  for (int64_t first = 0; first < step.tokens;) {
    int64_t last = first + 1;
    while (last < step.tokens && last - first < most && step.rows[last] == step.rows[first]) last++;
    tiles.push_back({first, last});
    first = last;
  }
}

const AttentionPlan::Units& AttentionPlan::units(int64_t window, int64_t page_tokens) {
  const auto known = by_window_.find(window);
  if (known != by_window_.end()) return known->second;
  Units& made = by_window_[window];
  made.parts.resize(tiles.size());
  const auto from = [&](size_t t) {
    return window > 0 ? std::max<int64_t>(0, step_.positions[tiles[t].first] + 1 - window) / SEGMENT : 0;
  };
  const auto to = [&](size_t t) { return step_.positions[tiles[t].last - 1] / SEGMENT; };
  for (size_t first = 0, last; first < tiles.size(); first = last) {  // the tiles of one sequence
    int64_t end = 0;
    for (last = first; last < tiles.size() && step_.rows[tiles[last].first] == step_.rows[tiles[first].first]; last++) {
      const int64_t parts = to(last) > from(last) ? to(last) - from(last) + 1 : 0;
      made.parts[last] = {made.num_parts, parts};
      made.num_parts += parts;
      end = std::max(end, to(last) + 1);
    }
    const int64_t seen = step_.positions[tiles[last - 1].last - 1];
    const int64_t unseen = window > 0 ? std::max<int64_t>(0, step_.positions[tiles[first].first] + 1 - window) : 0;
    const int32_t* table = step_.block_table + step_.rows[tiles[first].first] * step_.table_width;
    made.pages.insert(made.pages.end(), table + unseen / page_tokens, table + seen / page_tokens + 1);
    for (int64_t segment = from(first); segment < end; segment++)
      for (int64_t head = 0; head < kv_heads_; head++) {
        for (size_t t = first; t < last; t++)
          if (from(t) <= segment && segment <= to(t)) {
            const auto [part, count] = made.parts[t];
            const int64_t place = count > 0 ? part + segment - from(t) : -1;
            made.units.push_back({int64_t(t), segment, head, place});
          }
      }
  }
  return made;
}

void attend(Worker& worker, const Step& step, const AttentionPlan& plan, const AttentionPlan::Units& units,
            const Heads& heads, const Rope& rope, const AttentionRule& rule, const Pages& pages,
            std::vector<float>& scratch, Activations* out, float* floats) {
  const int64_t dim = pages.dim, kv_heads = pages.kv_heads, group = plan.group;
  worker.for_each(step.tokens, [&](int64_t t) {
    for (int64_t h = 0; h < kv_heads; h++) write_token(step, heads, rope, pages, t, h);
  });

  // A part keeps, for each row of its tile: the sum, then the maximum and the weight.
  const int64_t tile_rows = std::max<int64_t>(MAX_ROWS / group, 1) * group, row_floats = dim + LANES;
  const auto part_row = [&](int64_t part, int64_t head, int64_t row) {
    float* at = scratch.data() + ((part * kv_heads + head) * tile_rows + row) * row_floats;
    return Part{at, at + dim, at + dim + 1};
  };
  if (units.num_parts > 0)
    worker.once([&] {
      const size_t needed = size_t(units.num_parts * kv_heads * tile_rows * row_floats);
      if (scratch.size() < needed) scratch.resize(needed);
    });
  const auto finish = [&](Part* parts, int64_t count, int64_t token, int64_t head) {
    float* to = floats ? floats + (token * heads.query_heads + head) * dim : nullptr;
    finish_row(parts, count, rule.sinks ? rule.sinks + head : nullptr, dim, out, to, token, head * dim / GROUP);
  };

  const auto reader_of = [&](const AttentionPlan::Unit& unit) {
    const int64_t offset = unit.head * pages.page_tokens * dim, row = step.rows[plan.tiles[unit.tile].first];
    return PageReader{pages.keys + offset, pages.values + offset, step.block_table + row * step.table_width,
                      pages.page_elements(), pages.page_tokens, dim};
  };
  const auto ahead_of = [&](const AttentionPlan::Unit& unit) {
    const AttentionPlan::Tile& tile = plan.tiles[unit.tile];
    const int64_t seen = rule.window > 0 ? step.positions[tile.first] + 1 - rule.window : 0;
    return NextUnit{reader_of(unit), std::max(std::max<int64_t>(0, seen) / CHUNK * CHUNK, unit.segment * SEGMENT),
                 std::min(step.positions[tile.last - 1] + 1, (unit.segment + 1) * SEGMENT)};
  };
  const int64_t num_units = units.units.size();
  worker.for_each_next(num_units, [&](int64_t i, int64_t next) {
    const AttentionPlan::Unit& unit = units.units[i];
    const AttentionPlan::Tile& tile = plan.tiles[unit.tile];
    const int64_t head = unit.head, count = (tile.last - tile.first) * group;
    static thread_local Rows rows;
    static thread_local int64_t asked_for = -1;  // the unit whose tiles this thread has asked for
    const bool is_cold = std::exchange(asked_for, next) != i;
    const PageReader reader = reader_of(unit);
    const NextUnit ahead = next < num_units ? ahead_of(units.units[next]) : NextUnit{reader, 0, 0};
    for (int64_t first = 0; first < count; first += MAX_ROWS) {
      const int64_t some = std::min<int64_t>(MAX_ROWS, count - first);
      for (int64_t r = 0; r < some; r++) {
        const int64_t token = tile.first + (first + r) / group, query_head = head * group + (first + r) % group;
        prepare_head(heads.query + token * heads.query_stride + query_head * dim, rope, step, token, dim, rows.query + r * dim);
        rows.end[r] = step.positions[token] + 1;
        rows.begin[r] = rule.window > 0 ? std::max<int64_t>(0, rows.end[r] - rule.window) : 0;
      }
      ATTEND[some - 1](rows, reader, unit.segment, is_cold && first == 0, ahead, rule.scale, rule.softcap);
      for (int64_t r = 0; r < some; r++) {
        Part here{rows.sum + r * dim, rows.max + r, rows.weight + r};
        if (unit.part < 0) {
          finish(&here, 1, tile.first + (first + r) / group, head * group + (first + r) % group);
        } else {
          const Part there = part_row(unit.part, head, first + r);
          std::copy_n(here.sum, dim, there.sum);
          *there.max = *here.max;
          *there.weight = *here.weight;
        }
      }
    }
  });
  if (units.num_parts == 0) return;
  worker.for_each(int64_t(plan.tiles.size()) * kv_heads, [&](int64_t i) {
    const int64_t t = i / kv_heads, head = i % kv_heads;
    const auto [first_part, count] = units.parts[t];
    if (count == 0) return;
    static thread_local std::vector<Part> parts;
    const AttentionPlan::Tile& tile = plan.tiles[t];
    for (int64_t r = 0; r < (tile.last - tile.first) * group; r++) {
      parts.clear();
      for (int64_t p = 0; p < count; p++) parts.push_back(part_row(first_part + p, head, r));
      finish(parts.data(), count, tile.first + r / group, head * group + r % group);
    }
  });
}

}  // namespace chatsite
