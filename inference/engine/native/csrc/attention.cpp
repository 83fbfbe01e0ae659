// See attention.h for how pages lie and why contexts are cut as they are.
#include "attention_tiles.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace chatsite {
namespace {

void to_bf16(const float* from, int64_t begin, int64_t dim, bf16* to) {
  for (int64_t d = begin; d < dim; d += LANES) store_bf16(to + d, load(from + d));
}

void rotate(const float* from, const float* cos, const float* sin, int64_t rope_dim, int64_t dim,
            bf16* to) {
  const int64_t half = rope_dim / 2;
  for (int64_t d = 0; d < half; d += LANES) {
    const int64_t left = half - d;
    const F32 a = load_partial(from + d, left), b = load_partial(from + half + d, left);
    const F32 c = load_partial(cos + d, left), s = load_partial(sin + d, left);
    store_bf16_partial(to + d, fnma(b, s, a * c), left);
    store_bf16_partial(to + half + d, fma(a, s, b * c), left);
  }
  for (int64_t d = rope_dim; d < dim; d += LANES)
    store_bf16_partial(to + d, load_partial(from + d, dim - d), dim - d);
}

void prepare_head(const float* from, const Rope& rope, const Step& step, int64_t token, int64_t dim,
                  bf16* to) {
  if (!rope) return to_bf16(from, 0, dim, to);
  const int64_t row = rope.row(step, token);
  rotate(from, rope.cos + row, rope.sin + row, rope.dim, dim, to);
}

// Put token `t`'s key and value of one head into its page.
void write_token(const Step& step, const Heads& heads, const Rope& rope, const Pages& pages,
                 int64_t t, int64_t head) {
  const int64_t dim = pages.dim, page = step.slots[t] / pages.page_tokens,
                place = step.slots[t] % pages.page_tokens;
  alignas(64) bf16 key[MAX_DIM], value[MAX_DIM];
  prepare_head(heads.key + t * heads.key_stride + head * dim, rope, step, t, dim, key);
  to_bf16(heads.value + t * heads.value_stride + head * dim, 0, dim, value);
  const int64_t tile =
      page * pages.page_elements() + (head * pages.page_tokens + place / KEYS * KEYS) * dim;
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

void finish_row(Part* parts, int64_t count, const float* sink, int64_t dim, Activations* out,
                float* floats, int64_t token, int64_t first_group) {
  float max = NO_SCORE;
  for (int64_t p = 0; p < count; p++) max = std::max(max, *parts[p].max);
  if (sink) max = std::max(max, *sink);
  float weight = 0;
  alignas(64) float sum[MAX_DIM];
  for (int64_t p = 0; p < count; p++) {
    const float share = exp(*parts[p].max - max);
    weight = p ? weight + *parts[p].weight * share : *parts[p].weight * share;
    for (int64_t d = 0; d < dim; d += LANES) {
      const F32 add = load(parts[p].sum + d) * splat(share);
      store(sum + d, p ? load(sum + d) + add : add);
    }
  }
  if (sink) weight += exp(*sink - max);
  const F32 inverse = splat(1 / weight);
  for (int64_t d = 0; d < dim; d += LANES) store(sum + d, load(sum + d) * inverse);
  if (floats)
    std::copy_n(sum, dim, floats);
  else
    for (int64_t d = 0; d < dim; d += GROUP)
      put_group(*out, token, first_group + d / GROUP, load(sum + d), load(sum + d + LANES));
}

}  // namespace

AttentionPlan::AttentionPlan(const Step& step, int64_t query_heads, int64_t kv_heads)
    : group(query_heads / kv_heads), step_(step), kv_heads_(kv_heads) {
  const int64_t most = std::max<int64_t>(1, rows_together() / group);
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
    return window > 0 ? std::max<int64_t>(0, step_.positions[tiles[t].first] + 1 - window) / SEGMENT
                      : 0;
  };
  const auto to = [&](size_t t) { return step_.positions[tiles[t].last - 1] / SEGMENT; };
  for (size_t first = 0, last; first < tiles.size(); first = last) {  // the tiles of one sequence
    int64_t end = 0;
    for (last = first;
         last < tiles.size() && step_.rows[tiles[last].first] == step_.rows[tiles[first].first];
         last++) {
      const int64_t parts = to(last) > from(last) ? to(last) - from(last) + 1 : 0;
      made.parts[last] = {made.num_parts, parts};
      made.num_parts += parts;
      end = std::max(end, to(last) + 1);
    }
    const int64_t seen = step_.positions[tiles[last - 1].last - 1];
    const int64_t unseen =
        window > 0 ? std::max<int64_t>(0, step_.positions[tiles[first].first] + 1 - window) : 0;
    const int32_t* table = step_.block_table + step_.rows[tiles[first].first] * step_.table_width;
    made.pages.insert(made.pages.end(), table + unseen / page_tokens,
                      table + seen / page_tokens + 1);
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

void attend(Lane& lane, const Step& step, const AttentionPlan& plan,
            const AttentionPlan::Units& units, const Heads& heads, const Rope& rope,
            const AttentionRule& rule, const Pages& pages, std::vector<float>& scratch,
            Activations* out, float* floats) {
  const int64_t dim = pages.dim, kv_heads = pages.kv_heads, group = plan.group;
  lane.for_each(step.tokens, [&](int64_t t) {
    for (int64_t h = 0; h < kv_heads; h++) write_token(step, heads, rope, pages, t, h);
  });

  // A part keeps, for each row of its tile: the sum, then the maximum and the weight.
  const int64_t tile_rows = std::max<int64_t>(rows_together() / group, 1) * group,
                row_floats = dim + LANES;
  const auto part_row = [&](int64_t part, int64_t head, int64_t row) {
    float* at = scratch.data() + ((part * kv_heads + head) * tile_rows + row) * row_floats;
    return Part{at, at + dim, at + dim + 1};
  };
  if (units.num_parts > 0)
    lane.once([&] {
      const size_t needed = size_t(units.num_parts * kv_heads * tile_rows * row_floats);
      if (scratch.size() < needed) scratch.resize(needed);
    });
  const auto finish = [&](Part* parts, int64_t count, int64_t token, int64_t head) {
    float* to = floats ? floats + (token * heads.query_heads + head) * dim : nullptr;
    finish_row(parts, count, rule.sinks ? rule.sinks + head : nullptr, dim, out, to, token,
               head * dim / GROUP);
  };

  const auto reader_of = [&](const AttentionPlan::Unit& unit) {
    const int64_t offset = unit.head * pages.page_tokens * dim,
                  row = step.rows[plan.tiles[unit.tile].first];
    return PageReader{
        pages.keys + offset,   pages.values + offset, step.block_table + row * step.table_width,
        pages.page_elements(), pages.page_tokens,     dim};
  };
  const auto ahead_of = [&](const AttentionPlan::Unit& unit) {
    const AttentionPlan::Tile& tile = plan.tiles[unit.tile];
    const int64_t seen = rule.window > 0 ? step.positions[tile.first] + 1 - rule.window : 0;
    return NextUnit{reader_of(unit),
                    std::max(std::max<int64_t>(0, seen) / CHUNK * CHUNK, unit.segment * SEGMENT),
                    std::min(step.positions[tile.last - 1] + 1, (unit.segment + 1) * SEGMENT)};
  };
  const int64_t num_units = units.units.size(), most = rows_together();
  const AttendRows* attend_some = attend_by_rows();
  lane.for_each_next(num_units, [&](int64_t i, int64_t next) {
    const AttentionPlan::Unit& unit = units.units[i];
    const AttentionPlan::Tile& tile = plan.tiles[unit.tile];
    const int64_t head = unit.head, count = (tile.last - tile.first) * group;
    static thread_local Rows rows;
    static thread_local int64_t asked_for = -1;  // the unit whose tiles this thread has asked for
    const bool is_cold = std::exchange(asked_for, next) != i;
    const PageReader reader = reader_of(unit);
    const NextUnit ahead = next < num_units ? ahead_of(units.units[next]) : NextUnit{reader, 0, 0};
    for (int64_t first = 0; first < count; first += most) {
      const int64_t some = std::min<int64_t>(most, count - first);
      for (int64_t r = 0; r < some; r++) {
        const int64_t token = tile.first + (first + r) / group,
                      query_head = head * group + (first + r) % group;
        prepare_head(heads.query + token * heads.query_stride + query_head * dim, rope, step, token,
                     dim, rows.query + r * dim);
        rows.end[r] = step.positions[token] + 1;
        rows.begin[r] = rule.window > 0 ? std::max<int64_t>(0, rows.end[r] - rule.window) : 0;
      }
      attend_some[some - 1](rows, reader, unit.segment, is_cold && first == 0, ahead, rule.scale,
                            rule.softcap);
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
  release_matrix();
  if (units.num_parts == 0) return;
  lane.for_each(int64_t(plan.tiles.size()) * kv_heads, [&](int64_t i) {
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
