// Cuts a product into tiles, spreads them over the team, and finishes their results.
#include "linear.h"

#include <algorithm>
#include <bit>

#include "tile_shapes.h"

namespace chatsite {
namespace {

constexpr int64_t MATRIX_ROWS = 17;  // from here on unpacking bytes for matrix registers pays

// Whether a product uses matrix registers. In bf16 that must not depend on its rows.
bool uses_matrix(Format format, int64_t rows) {
  if (format == Format::Bf16) return use_matrix();
  return row_kind(format) == RowKind::Bytes && rows >= MATRIX_ROWS && use_matrix();
}

#if defined(__AMX_TILE__)
// Unpack a panel into this thread's room for two of them.
const uint8_t* unpacked(const Weights& w, int64_t panel, int64_t place) {
  static thread_local std::vector<uint8_t> room;
  const int64_t bytes = w.inputs * PANEL;
  if (int64_t(room.size()) < 2 * bytes + LINE) room.resize(2 * bytes + LINE);
  uint8_t* out =
      room.data() + (LINE - reinterpret_cast<uintptr_t>(room.data()) % LINE) + place * bytes;
  if (w.format == Format::Int8) unpack_bytes<Format::Int8>(w.panel(panel), w.inputs, out);
  if (w.format == Format::Int4) unpack_bytes<Format::Int4>(w.panel(panel), w.inputs, out);
  return out;
}
#endif

// Up to here a product only waits for memory. Tiles of half a panel walk it twice, from three rows
// on, and are better off with asking; so are those of bytes (INT4, 4 rows, an AMD Zen 5: 3.0 ms a
// step, 2.3 with asking).
constexpr int64_t few_rows(Format format) {
  return REGISTERS >= 32 && row_kind(format) != RowKind::Bytes ? 4 : 2;
}

// At most: rows whose activations stay in the second-level cache.
constexpr int64_t ROW_BLOCK = 96, MATRIX_ROW_BLOCK = 256;

// How a product is cut: units of one or two panels, for one block of rows after the other. Blocks
// are of nearly one height, so that units are of nearly one size: they go out in runs.
class Units {
 public:
  struct Panels {
    int64_t first, second;  // the same where it is one
  };

  Units(const Weights& w, int64_t rows, int team) : w_(w) {
    const bool on_matrix = uses_matrix(w.format, rows);
    const int64_t most = on_matrix ? MATRIX_ROW_BLOCK : ROW_BLOCK;
    blocks_ = (rows + most - 1) / most;
    const int64_t n = panels(w.outputs);
    // Few rows: one panel at a time, so that the threads' shares come out even. Many: pairs, which
    // a tile of floats multiplies with fewer loads. Where the pairs don't come out even, one is
    // taken apart and its halves are the first and the last unit: one in each half of the runs.
    together_ = !w.gated && rows > 8 && pairs_panels(w.format) && !on_matrix ? 2 : 1;
    per_block_ = w.gated ? n / 2 : (n + together_ - 1) / together_;
    if (together_ == 2 && n % 2 == 0 && per_block_ % team != 0) {
      odd_panel_ = 1;
      per_block_++;
    }
    height_ = (rows + blocks_ - 1) / std::max<int64_t>(1, blocks_);
  }

  int64_t count() const { return blocks_ * per_block_; }
  int64_t first_row(int64_t unit) const { return unit / per_block_ * height_; }
  int64_t height() const { return height_; }

  Panels panels_of(int64_t unit) const {
    const int64_t i = unit % per_block_, n = panels(w_.outputs);
    if (w_.gated) return {i, i + per_block_};
    const int64_t first = std::max<int64_t>(0, i * together_ - odd_panel_);
    const int64_t end = std::min((i + 1) * together_ - odd_panel_, n);
    return {first, end - 1};
  }

 private:
  const Weights& w_;
  int64_t blocks_ = 0, together_ = 1, per_block_ = 0, height_ = 0, odd_panel_ = 0;
};

// Where the panels lie of the unit that this thread will probably multiply with next; from `count`
// on, of the first or the second run of the product that comes after this one.
void look_ahead(const Lane& lane, const Weights& w, const Units& units, int64_t rows, int64_t next,
                const uint8_t* at[2]) {
  const int64_t count = units.count();
  const Weights& in = next < count || !w.next ? w : *w.next;
  Units::Panels p;
  if (next < count) {
    p = units.panels_of(next);
  } else {
    const Units following(in, rows, lane.team_size());
    p = following.panels_of(next == count ? 0 : lane.first_run(following.count()));
  }
  at[0] = in.panel(p.first);
  at[1] = in.panel(p.second);
}

// How a unit is multiplied: with which tiles, and with what.
struct TilePlan {
  Shape shape;
  PanelPlace first, second;
};

TilePlan tile_plan(const Weights& w, Units::Panels panels, int64_t rows) {
  const bool two = panels.second > panels.first;
  TilePlan plan{{}, {w.panel(panels.first)}, {w.panel(panels.second)}};
#if defined(__AMX_TILE__)
  if (uses_matrix(w.format, rows)) {
    plan.shape = matrix_shape(w.format);
    if (w.is_quantised()) {
      plan.first.bytes = unpacked(w, panels.first, 0);
      if (two) plan.second.bytes = unpacked(w, panels.second, 1);
    }
    return plan;
  }
#endif
  plan.shape = vector_shape(w.format, rows, two);
  plan.first.second = plan.second.first - plan.first.first;
  return plan;
}

// Multiply the rows of a unit with its panels. Calls finish(row, number of rows, values of the
// first panel, of the second, floats between rows) for every tile.
template <class Finish>
void run_unit(const Activations& x, int64_t row, int64_t end, const Weights& w,
              Units::Panels panels, const uint8_t* const ahead_at[2], Prefetcher* prefetcher,
              Finish&& finish) {
  const int64_t bytes = panel_bytes(w.format, w.inputs);
  const auto [shape, first, second] = tile_plan(w, panels, end - row);
  const int tile_panels = shape.halves == 4 ? 2 : 1, halves = shape.halves == 1 ? 2 : 1;
  const int in_turn = panels.second > panels.first && tile_panels == 1 ? 2 : 1;
  const int64_t tiles = (end - row + shape.rows - 1) / shape.rows;
  // Each of the first `askers` tiles prefetches its share of what is ahead. Few rows wait for
  // memory all the time: an AMD Zen 4's own reading ahead serves them better (at 4 rows 7.5 ms a
  // step, 9.0 with asking), an Intel Xeon's, which the matrix registers tell, doesn't (4.2, and 2.8
  // with asking).
  const bool asks = end - row > few_rows(w.format) || use_matrix();
  const int64_t askers = asks ? std::bit_floor(uint64_t(tiles)) : 0;
  const int64_t calls = in_turn * halves * tiles;
  int64_t reserved = prefetcher ? prefetcher->reserve(calls) : 0;
  const auto beside = [&] { return prefetcher ? prefetcher->range(reserved++) : PrefetchRange{}; };
  const int64_t part = bytes / std::max<int64_t>(1, askers);
  alignas(64) float values[MAX_TILE];
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t stop = row + (end - row + tiles - t - 1) / (tiles - t);  // of nearly one height
    const int count = int(stop - row);
    const TileRows rows(x, row);
    const RunTile run = shape.tiles[count - 1];
    const int64_t mask = t < askers ? askers - 1 : INT64_MAX;
    for (int p = 0; p < in_turn; p++) {
      PanelPlace place = p == 0 ? first : second;
      const uint8_t *ahead = ahead_at[p] + part * t, *ahead_too = ahead_at[1] + part * t;
      for (place.half = 0; place.half < halves; place.half++)
        run(rows, place, w.inputs, {{ahead + place.half * part / 2, ahead_too}, mask, beside()},
            values + p * count * PANEL);
    }
    const float* second_values = values + (in_turn == 2 ? count * PANEL : PANEL);
    finish(row, count, values, second_values, tile_panels * PANEL);
    row = stop;
  }
}

template <class Finish>
void run_units(Lane& lane, const Activations& x, int64_t rows, const Weights& w,
               Prefetcher* prefetcher, Finish&& finish) {
  const Units units(w, rows, lane.team_size());
  lane.for_runs(units.count(), [&](int64_t unit, int64_t next) {
    const int64_t row = units.first_row(unit), end = std::min(rows, row + units.height());
    const Units::Panels panels = units.panels_of(unit);
    const uint8_t* ahead[2];
    look_ahead(lane, w, units, rows, next, ahead);
    run_unit(x, row, end, w, panels, ahead, prefetcher,
             [&](int64_t at, int count, const float* a, const float* b, int step) {
               finish(panels, at, count, a, b, step);
             });
  });
  release_matrix();
}

struct Pair {
  F32 low, high;
};

inline Pair with_bias(const float* values, const float* bias, int64_t column) {
  Pair v{load(values), load(values + LANES)};
  if (bias) {
    v.low = v.low + load(bias + column);
    v.high = v.high + load(bias + column + LANES);
  }
  return v;
}

inline void put(float* out, F32 v, int64_t room, bool add, F32 scale) {
  if (add) v = fma(v, scale, load_partial(out, room));
  store_partial(out, v, room);
}

}  // namespace

void linear(Lane& lane, const Activations& x, int64_t rows, const Weights& w, float* out, bool add,
            float scale, Prefetcher* prefetcher) {
  const F32 scales = splat(scale);
  run_units(
      lane, x, rows, w, prefetcher,
      [&](Units::Panels panels, int64_t at, int count, const float* a, const float* b, int step) {
        for (int64_t p = panels.first; p <= panels.second; p++) {
          const int64_t column = p * PANEL, room = w.outputs - column;
          const float* values = p == panels.first ? a : b;
          for (int r = 0; r < count; r++, values += step) {
            const Pair v = with_bias(values, w.bias, column);
            float* to = out + (at + r) * w.outputs + column;
            put(to, v.low, room, add, scales);
            put(to + LANES, v.high, room - LANES, add, scales);
          }
        }
      });
}

void gated_linear(Lane& lane, const Activations& x, int64_t rows, const Weights& w, Gate gate,
                  Activations& out, Prefetcher* prefetcher) {
  const bool is_silu = gate == Gate::Silu;
  run_units(
      lane, x, rows, w, prefetcher,
      [&](Units::Panels panels, int64_t at, int count, const float* a, const float* b, int step) {
        for (int r = 0; r < count; r++) {
          const Pair g = with_bias(a + r * step, w.bias, panels.first * PANEL);
          const Pair u = with_bias(b + r * step, w.bias, panels.second * PANEL);
          const F32 low = is_silu ? silu(g.low) : gelu_tanh(g.low);
          const F32 high = is_silu ? silu(g.high) : gelu_tanh(g.high);
          put_group(out, at + r, panels.first, low * u.low, high * u.high);
        }
      });
}

}  // namespace chatsite
