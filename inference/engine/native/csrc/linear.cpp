// Cuts a product into tiles, spreads them over the team, and finishes their results.
#include "linear.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tiles.h"

namespace chatsite {
namespace {

using RunTile = void (*)(const TileRows&, const uint8_t*, int64_t, int64_t, float*);

// Tiles of 1 to MAX_ROWS rows; [1] are those that read their panels first.
template <Format FORMAT, int PANELS, int MAX_ROWS>
struct Tiles {
  template <bool FIRST, size_t... I>
  static constexpr std::array<RunTile, MAX_ROWS> of(std::index_sequence<I...>) {
    return {&Tile<FORMAT, int(I) + 1, PANELS, FIRST>::run...};
  }
  static constexpr std::array<RunTile, MAX_ROWS> by_rows[2] = {
      of<false>(std::make_index_sequence<MAX_ROWS>()), of<true>(std::make_index_sequence<MAX_ROWS>())};
};

struct Shape {  // of the largest tile of a format
  int rows, panels;
  const RunTile *again, *first;
};

template <Format FORMAT, int PANELS, int MAX_ROWS>
Shape shape() {
  using T = Tiles<FORMAT, PANELS, MAX_ROWS>;
  return {MAX_ROWS, PANELS, T::by_rows[0].data(), T::by_rows[1].data()};
}

Shape shape_for(Format format, int64_t panels_together) {
  switch (format) {
    case Format::Bf16: return panels_together == 2 ? shape<Format::Bf16, 2, 6>() : shape<Format::Bf16, 1, 8>();
    case Format::Int8: return shape<Format::Int8, 1, 6>();
    case Format::Int4: return shape<Format::Int4, 1, 6>();
  }
  return {};
}

constexpr int64_t ROW_BLOCK = 96;  // rows whose activations stay in the second-level cache

// For every tile of x (rows) times panels first, first + 1 (if `count` is 2): call
// finish(row, number of rows, values of the first panel, of the second, floats between rows).
template <class Finish>
void tile_unit(const Activations& x, int64_t row, int64_t end, const Weights& w, int64_t first, int64_t second,
               Finish&& finish) {
  const int64_t distance = (second - first) * panel_bytes(w.format, w.inputs);
  const Shape shape = shape_for(w.format, second > first ? 2 : 1);
  const bool in_turn = second > first && shape.panels == 1;  // two panels, a tile for each
  const int64_t tiles = (end - row + shape.rows - 1) / shape.rows;
  alignas(64) float values[MAX_TILE];
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t stop = row + (end - row + tiles - t - 1) / (tiles - t);  // tiles of nearly one height
    const int count = int(stop - row);
    const TileRows rows(x, row);
    const RunTile run = (t == 0 ? shape.first : shape.again)[count - 1];
    run(rows, w.panel(first), distance, w.inputs, values);
    if (in_turn) {
      run(rows, w.panel(second), 0, w.inputs, values + count * PANEL);
      finish(row, count, values, values + count * PANEL, PANEL);
    } else {
      finish(row, count, values, values + PANEL, shape.panels * PANEL);
    }
    row = stop;
  }
}

struct Pair {
  Floats low, high;
};

inline Pair with_bias(const float* values, const float* bias, int64_t column) {
  Pair v{load(values), load(values + LANES)};
  if (bias) {
    v.low = _mm512_add_ps(v.low, load(bias + column));
    v.high = _mm512_add_ps(v.high, load(bias + column + LANES));
  }
  return v;
}

inline void put(float* out, Floats v, int64_t room, bool add, Floats scale) {
  const __mmask16 mask = room >= LANES ? 0xffff : room <= 0 ? 0 : __mmask16((1u << room) - 1);
  if (add) v = _mm512_fmadd_ps(v, scale, _mm512_maskz_loadu_ps(mask, out));
  _mm512_mask_storeu_ps(out, mask, v);
}

}  // namespace

void linear(Worker& worker, const Activations& x, int64_t rows, const Weights& w, float* out, bool add,
            float scale) {
  const int64_t n = panels(w.outputs), blocks = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
  // Few rows: one panel at a time, so that the threads' shares come out even. Many: pairs, which a
  // BF16 tile multiplies with fewer loads.
  const int64_t together = rows > 8 && w.format == Format::Bf16 ? 2 : 1;
  const int64_t units = (n + together - 1) / together;
  const Floats scales = all(scale);
  worker.for_each(blocks * units, [&](int64_t unit) {
    const int64_t row = unit / units * ROW_BLOCK, end = std::min(rows, row + ROW_BLOCK);
    const int64_t first = unit % units * together, second = std::min(n - 1, first + together - 1);
    tile_unit(x, row, end, w, first, second, [&](int64_t at, int count, const float* a, const float* b, int step) {
      for (int64_t p = first; p <= second; p++) {
        const int64_t column = p * PANEL, room = w.outputs - column;
        const float* values = p == first ? a : b;
        for (int r = 0; r < count; r++, values += step) {
          const Pair v = with_bias(values, w.bias, column);
          float* to = out + (at + r) * w.outputs + column;
          put(to, v.low, room, add, scales);
          put(to + LANES, v.high, room - LANES, add, scales);
        }
      }
    });
  });
}

void gated_linear(Worker& worker, const Activations& x, int64_t rows, const Weights& w, Gate gate, Activations& out) {
  const int64_t half = panels(w.outputs) / 2, blocks = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
  worker.for_each(blocks * half, [&](int64_t unit) {
    const int64_t row = unit / half * ROW_BLOCK, end = std::min(rows, row + ROW_BLOCK), p = unit % half;
    tile_unit(x, row, end, w, p, p + half, [&](int64_t at, int count, const float* a, const float* b, int step) {
      for (int r = 0; r < count; r++) {
        const Pair g = with_bias(a + r * step, w.bias, p * PANEL);
        const Pair u = with_bias(b + r * step, w.bias, (p + half) * PANEL);
        const bool is_silu = gate == Gate::Silu;
        const Floats low = is_silu ? silu(g.low) : gelu_tanh(g.low);
        const Floats high = is_silu ? silu(g.high) : gelu_tanh(g.high);
        put_group(out, at + r, p, _mm512_mul_ps(low, u.low), _mm512_mul_ps(high, u.high));
      }
    });
  });
}

}  // namespace chatsite
