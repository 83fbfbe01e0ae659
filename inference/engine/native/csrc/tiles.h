// The innermost loops: ROWS rows of activations times HALVES halves of panels of weights.
//
// A tile keeps all its sums in registers and walks once along the inputs. For each step it loads
// the weights of its halves and repeats each row's activations over a vector, so that ROWS and
// HALVES balance loads against products; tile_shapes.h has the shapes for each size of register
// file. A row's sums run along the inputs in the same order in every shape of tile: the number of
// rows computed together changes nothing in them.
//
// While a tile computes, it prefetches weights that will be needed next but one. Memory is then
// read all the time and not only when a panel is new, which matters as soon as there is more than
// one row. byte_tiles.h has the tiles of Int8 and Int4, matrix_tiles.h those of AMX.
#pragma once
#include "formats.h"
#include "prefetch.h"

namespace chatsite {

// Floats of the largest tile: two panels of 16 rows, or one of 32 on matrix registers.
constexpr int MAX_TILE = 32 * 2 * PANEL;

// Where a tile's rows of activations lie.
struct TileRows {
  const uint8_t* data;
  int64_t row_bytes, groups;
  const float *scales = nullptr, *totals = nullptr;
  const int32_t* excess = nullptr;

  TileRows(const Activations& x, int64_t first)
      : data(x.row(first)), row_bytes(x.row_bytes), groups(x.groups) {
    if (x.kind != RowKind::Bytes) return;
    scales = x.scales.data() + first * groups;
    totals = x.totals.data() + first * groups;
    excess = x.excess.data() + first * groups;
  }

  const float* floats(int r) const { return reinterpret_cast<const float*>(data + r * row_bytes); }
};

// Which panels a tile multiplies with.
struct PanelPlace {
  const uint8_t* first;
  int64_t second = 0;              // how far behind it the second one lies, for tiles of two
  int half = 0;                    // which half of it, for tiles of one half
  const uint8_t* bytes = nullptr;  // the first, unpacked, for tiles that want that

  // Where half `h` of a tile's HALVES begins, of which each has `bytes` in a row of both.
  template <int HALVES> ALWAYS_INLINE int64_t offset(int h, int64_t bytes) const {
    if constexpr (HALVES == 1) return half * bytes;
    return h / 2 * second + h % 2 * bytes;
  }
};

// Which bytes a tile is to prefetch while it computes. Of weights: at every step whose number is a
// multiple of mask + 1, the next 64 to 160 of each of two streams. Beside them: a line at each
// step, as long as there are any.
struct TilePrefetch {
  const uint8_t* at[2] = {nullptr, nullptr};
  int64_t mask = 0;
  PrefetchRange beside;

  template <int HALVES, int PANEL_BYTES> ALWAYS_INLINE void prefetch(int64_t step) {
    constexpr int PANELS = HALVES / 4 + 1, BYTES = HALVES == 1 ? PANEL_BYTES / 2 : PANEL_BYTES;
    if (step < beside.lines) prefetch_far(beside.at + step * LINE);
    if (step & mask) return;
    EACH(p, PANELS) {
      EACH(line, (BYTES + 63) / 64) prefetch_far(at[p] + line * 64);
      at[p] += BYTES;
    }
  }
};

// The floats between a row's results and the next row's: a tile of one half fills its half.
template <int HALVES> constexpr int TILE_ROW = HALVES == 1 ? PANEL : HALVES* LANES;

template <int ROWS, int HALVES>
ALWAYS_INLINE void store_tile(float* out, const PanelPlace& place, F32 (&sum)[ROWS][HALVES]) {
  if constexpr (HALVES == 1) out += place.half * LANES;
  EACH(r, ROWS)
  EACH(h, HALVES) store(out + r * TILE_ROW<HALVES> + h * LANES, sum[r][h]);
}

template <Format FORMAT, int ROWS, int HALVES> struct Tile;

// Pairs of bf16, where they are one instruction.
template <int ROWS, int HALVES> struct Bf16PairTile {
  static void run(const TileRows& x, const PanelPlace& place, int64_t inputs, TilePrefetch ahead,
                  float* out) {
    const uint8_t* panel = place.first;
    F32 sum[ROWS][HALVES];
    EACH(r, ROWS)
    EACH(h, HALVES) sum[r][h] = splat(0.f);
    for (int64_t pair = 0; pair < inputs / 2; pair++, panel += BF16_PAIR_BYTES) {
      Bf16Pairs w[HALVES];
      EACH(h, HALVES) w[h] = bf16_pairs(panel + place.offset<HALVES>(h, BF16_PAIR_BYTES / 2));
      ahead.prefetch<HALVES, BF16_PAIR_BYTES>(pair);
      EACH(r, ROWS) {
        const bf16* at = reinterpret_cast<const bf16*>(x.data + r * x.row_bytes) + 2 * pair;
        const Bf16Pairs a = repeat_bf16_pair(at);
        EACH(h, HALVES) dot_bf16(sum[r][h], a, w[h]);
      }
    }
    store_tile<ROWS, HALVES>(out, place, sum);
  }
};

// What a step of a tile of floats reads: INPUTS of each output, in BYTES of a panel. load<i> gives
// the i-th that is multiplied, which belongs to input place<i>.
template <Format FORMAT> struct FloatStep;

template <> struct FloatStep<Format::Bf16> {  // the odd one first, as vdpbf16ps has it
  static constexpr int INPUTS = 2, BYTES = BF16_PAIR_BYTES;
  static constexpr int place(int i) { return 1 - i; }
  static ALWAYS_INLINE F32 load(const uint8_t* at, int i) {
    return i == 0 ? odd_bf16(at) : even_bf16(at);
  }
};

template <> struct FloatStep<Format::Fp32> {
  static constexpr int INPUTS = 1, BYTES = FP32_BYTES;
  static constexpr int place(int) { return 0; }
  static ALWAYS_INLINE F32 load(const uint8_t* at, int) {
    return chatsite::load(reinterpret_cast<const float*>(at));
  }
};

template <> struct FloatStep<Format::Fp16> {
  static constexpr int INPUTS = 2, BYTES = FP16_PAIR_BYTES;
  static constexpr int place(int i) { return i; }
  static ALWAYS_INLINE F32 load(const uint8_t* at, int i) {
    return load_fp16(reinterpret_cast<const fp16*>(at) + i * LANES);
  }
};

template <Format FORMAT, int ROWS, int HALVES> struct FloatTile {
  static void run(const TileRows& x, const PanelPlace& place, int64_t inputs, TilePrefetch ahead,
                  float* out) {
    using Step = FloatStep<FORMAT>;
    const uint8_t* panel = place.first;
    F32 sum[ROWS][HALVES];
    EACH(r, ROWS)
    EACH(h, HALVES) sum[r][h] = splat(0.f);
    for (int64_t k = 0; k < inputs; k += Step::INPUTS, panel += Step::BYTES) {
      ahead.prefetch<HALVES, Step::BYTES>(k / Step::INPUTS);
      EACH(i, Step::INPUTS) {
        F32 w[HALVES];
        EACH(h, HALVES) w[h] = Step::load(panel + place.offset<HALVES>(h, Step::BYTES / 2), i);
        EACH(r, ROWS) {
          const F32 a = splat(x.floats(r)[k + Step::place(i)]);
          EACH(h, HALVES) sum[r][h] = fma(a, w[h], sum[r][h]);
        }
      }
    }
    store_tile<ROWS, HALVES>(out, place, sum);
  }
};

template <int ROWS, int HALVES>
struct Tile<Format::Bf16, ROWS, HALVES>
    : std::conditional_t<HAS_BF16_DOT, Bf16PairTile<ROWS, HALVES>,
                         FloatTile<Format::Bf16, ROWS, HALVES>> {};

template <int ROWS, int HALVES>
struct Tile<Format::Fp32, ROWS, HALVES> : FloatTile<Format::Fp32, ROWS, HALVES> {};

template <int ROWS, int HALVES>
struct Tile<Format::Fp16, ROWS, HALVES> : FloatTile<Format::Fp16, ROWS, HALVES> {};

}  // namespace chatsite
