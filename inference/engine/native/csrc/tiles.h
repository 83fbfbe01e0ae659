// The innermost loops: ROWS rows of activations times PANELS panels of weights.
//
// A tile keeps all its sums in registers (ROWS x PANELS x 2 of 32) and walks once along the inputs.
// For each step it loads the weights of its panels and repeats each row's activations over a
// vector, so that ROWS and PANELS balance loads (one a cycle on the CPUs at hand) against products
// (two). A row's sums run along the inputs in the same order in every shape of tile: the number of
// rows computed together changes nothing in them.
//
// While a tile computes, it asks for weights that will be needed next but one. Memory is then read
// all the time and not only when a panel is new, which matters as soon as there is more than one
// row.
#pragma once
#include "formats.h"
#include "upcoming.h"

namespace chatsite {

constexpr int MAX_TILE =
    32 * 2 * PANEL;  // floats of the largest tile of two panels, matrix_tiles.h's included

// Unroll the loops over rows completely: their counts are template arguments.
#define EACH_ROW _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)
#define EACH_HALF _Pragma("GCC unroll 16") for (int h = 0; h < 2 * PANELS; h++)  // of 16 outputs

// Where a tile's rows of activations lie.
struct TileRows {
  const uint8_t* data;
  int64_t row_bytes, groups;
  const float *scales = nullptr, *totals = nullptr;
  const int32_t* excess = nullptr;

  TileRows(const Activations& x, int64_t first)
      : data(x.row(first)), row_bytes(x.row_bytes), groups(x.groups) {
    if (!x.quantised) return;
    scales = x.scales.data() + first * groups;
    totals = x.totals.data() + first * groups;
    excess = x.excess.data() + first * groups;
  }
};

// Which panels a tile multiplies with.
struct PanelPlace {
  const uint8_t* first;
  int64_t second = 0;              // how far behind it the second one lies, for tiles of two
  const uint8_t* bytes = nullptr;  // the first, unpacked, for tiles that want that
};

// Which bytes a tile is to ask for while it computes. Of weights: at every step whose number is a
// multiple of mask + 1, the next 128 to 160 of each of two streams. Beside them: a line at each
// step, as long as there are any.
struct Ahead {
  const uint8_t* at[2] = {nullptr, nullptr};
  int64_t mask = 0;
  Stretch beside;

  template <int PANELS, int BYTES> inline __attribute__((always_inline)) void ask(int64_t step) {
    if (step < beside.lines) prefetch_far(beside.at + step * LINE);
    if (step & mask) return;
    _Pragma("GCC unroll 2") for (int p = 0; p < PANELS; p++) {
      _Pragma("GCC unroll 4") for (int line = 0; line < BYTES; line += 64)
          prefetch_far(at[p] + line);
      at[p] += BYTES;
    }
  }
};

template <Format FORMAT, int ROWS, int PANELS> struct Tile;

template <int ROWS, int PANELS> struct Tile<Format::Bf16, ROWS, PANELS> {
  static void run(const TileRows& x, const PanelPlace& place, int64_t inputs, Ahead ahead,
                  float* out) {
    const uint8_t* panel = place.first;
    Floats sum[ROWS][2 * PANELS];
    EACH_ROW
    EACH_HALF
    sum[r][h] = all(0.f);
    for (int64_t pair = 0; pair < inputs / 2; pair++, panel += BF16_PAIR_BYTES) {
      Words w[2 * PANELS];
      EACH_HALF
      w[h] = load_words(panel + h / 2 * place.second + h % 2 * 64);
      ahead.ask<PANELS, BF16_PAIR_BYTES>(pair);
      EACH_ROW {
        const Words a = repeat4(x.data + r * x.row_bytes + 4 * pair);
        EACH_HALF
        dot_bf16(sum[r][h], a, w[h]);
      }
    }
    EACH_ROW
    EACH_HALF
    store(out + r * PANELS * PANEL + h * LANES, sum[r][h]);
  }
};

template <int ROWS, int PANELS> struct Tile<Format::Int8, ROWS, PANELS> {
  static void run(const TileRows& x, const PanelPlace& place, int64_t, Ahead ahead, float* out) {
    const uint8_t* panel = place.first;
    Floats sum[ROWS][2 * PANELS];
    EACH_ROW
    EACH_HALF
    sum[r][h] = all(0.f);
    for (int64_t g = 0; g < x.groups; g++, panel += INT8_GROUP_BYTES) {
      Words dot[ROWS][2 * PANELS];
      EACH_ROW {  // weights are stored 128 too high
        const Words excess = _mm512_set1_epi32(x.excess[r * x.groups + g]);
        EACH_HALF
        dot[r][h] = excess;
      }
      _Pragma("GCC unroll 8") for (int quad = 0; quad < GROUP / 4; quad++) {
        Words w[2 * PANELS];
        EACH_HALF
        w[h] = load_words(panel + h / 2 * place.second + quad * 128 + h % 2 * 64);
        ahead.ask<PANELS, INT8_GROUP_BYTES / 8>(8 * g + quad);
        EACH_ROW {
          const Words a = repeat4(x.data + r * x.row_bytes + g * GROUP + quad * 4);
          EACH_HALF
          dot_bytes(dot[r][h], w[h], a);
        }
      }
      EACH_HALF {
        const fp16* scales =
            reinterpret_cast<const fp16*>(panel + h / 2 * place.second + GROUP * PANEL);
        const Floats scale = load_fp16(scales + h % 2 * LANES);
        EACH_ROW {
          const Floats scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[r][h]), scale);
          sum[r][h] = _mm512_fmadd_ps(scaled, all(x.scales[r * x.groups + g]), sum[r][h]);
        }
      }
    }
    EACH_ROW
    EACH_HALF
    store(out + r * PANELS * PANEL + h * LANES, sum[r][h]);
  }
};

template <int ROWS, int PANELS> struct Tile<Format::Int4, ROWS, PANELS> {
  static void run(const TileRows& x, const PanelPlace& place, int64_t, Ahead ahead, float* out) {
    const uint8_t* panel = place.first;
    const Words nibble = _mm512_set1_epi8(15);
    Floats sum[ROWS][2 * PANELS];
    EACH_ROW
    EACH_HALF
    sum[r][h] = all(0.f);
    for (int64_t g = 0; g < x.groups; g++, panel += INT4_GROUP_BYTES) {
      Words dot[ROWS][2 * PANELS];
      EACH_ROW
      EACH_HALF
      dot[r][h] = _mm512_setzero_si512();
      _Pragma("GCC unroll 4") for (int eight = 0; eight < GROUP / 8; eight++) {
        Words low[2 * PANELS], high[2 * PANELS];
        EACH_HALF {
          const uint8_t* at = panel + h / 2 * place.second + eight * 128 + h % 2 * 64;
          const Words both = load_words(at);
          low[h] = _mm512_and_si512(both, nibble);
          high[h] = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
        }
        ahead.ask<PANELS, INT4_GROUP_BYTES / 4>(4 * g + eight);
        EACH_ROW {
          const uint8_t* at = x.data + r * x.row_bytes + g * GROUP + eight * 8;
          const Words a = repeat4(at), b = repeat4(at + 4);
          EACH_HALF
          dot_bytes(dot[r][h], low[h], a);
          EACH_HALF
          dot_bytes(dot[r][h], high[h], b);
        }
      }
      EACH_HALF {
        const uint8_t* behind = panel + h / 2 * place.second + GROUP * PANEL / 2;
        const fp16* scales = reinterpret_cast<const fp16*>(behind) + h % 2 * LANES;
        const Floats scale = load_fp16(scales), minimum = load_fp16(scales + PANEL);
        EACH_ROW {  // (sum of scale * nibble + minimum) * activation, the activation's scale last
          const Floats total = all(x.totals[r * x.groups + g]);
          const Floats whole =
              _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[r][h]), scale, _mm512_mul_ps(total, minimum));
          sum[r][h] = _mm512_fmadd_ps(whole, all(x.scales[r * x.groups + g]), sum[r][h]);
        }
      }
    }
    EACH_ROW
    EACH_HALF
    store(out + r * PANELS * PANEL + h * LANES, sum[r][h]);
  }
};

#undef EACH_ROW
#undef EACH_HALF

}  // namespace chatsite
