// The tiles of tiles.h on the CPU's matrix registers: the same products of the same layouts.
//
// Sums of bytes are whole numbers and are scaled in the same order as there: int8 and int4 give the
// same bits either way, and the faster way may be taken. Sums of bf16 run in another order: where
// there are matrix registers, all products of bf16 use them, whatever their number of rows.
#pragma once
#include "matrix.h"
#include "tiles.h"

#if defined(__AMX_TILE__)
namespace chatsite {

constexpr int BLOCK = 16;  // rows of a register

// Up to 32 rows by one panel. Each factor is loaded once for two registers of sums.
template <int ROWS> struct MatrixTile {
  static constexpr int64_t PAIRS = 16;  // of inputs, that one instruction sums

  static void run(const TileRows& x, const PanelPlace& place, int64_t inputs, TilePrefetch ahead,
                  float* out) {
    const uint8_t* panel = place.first;
    constexpr int UPPER = std::min(ROWS, BLOCK), LOWER = ROWS - UPPER;
    set_matrix_shape({UPPER, LOWER, PAIRS});
    clear_matrix<0>(), clear_matrix<1>();
    if constexpr (LOWER > 0) clear_matrix<2>(), clear_matrix<3>();
    for (int64_t pair = 0; pair < inputs / 2; pair += PAIRS, panel += PAIRS * BF16_PAIR_BYTES) {
      const uint8_t* left = x.data + 4 * pair;
      load_matrix<4>(panel, BF16_PAIR_BYTES);
      load_matrix<6>(left, x.row_bytes);
      multiply_bf16<0, 6, 4>();
      load_matrix<5>(panel + 64, BF16_PAIR_BYTES);
      multiply_bf16<1, 6, 5>();
      if constexpr (LOWER > 0) {
        load_matrix<7>(left + BLOCK * x.row_bytes, x.row_bytes);
        multiply_bf16<2, 7, 4>();
        multiply_bf16<3, 7, 5>();
      }
      for (int64_t i = 0; i < PAIRS; i++) ahead.prefetch<2, BF16_PAIR_BYTES>(pair + i);
    }
    constexpr int64_t ROW = PANEL * sizeof(float);
    store_matrix<0>(out, ROW), store_matrix<1>(out + LANES, ROW);
    if constexpr (LOWER > 0) {
      store_matrix<2>(out + BLOCK * PANEL, ROW), store_matrix<3>(out + BLOCK * PANEL + LANES, ROW);
    }
  }
};

// A panel of bytes or nibbles as signed bytes, in the order in which it is multiplied:
//   for each group of 32 inputs: for each half of 16 outputs: for each quad: 16 x { 4 bytes }
constexpr int64_t HALF_BYTES = GROUP * LANES;

template <Format FORMAT> void unpack_bytes(const uint8_t* panel, int64_t inputs, uint8_t* out);

template <>
inline void unpack_bytes<Format::Int8>(const uint8_t* panel, int64_t inputs, uint8_t* out) {
  const I32 too_high = _mm512_set1_epi8(-128);
  for (int64_t g = 0; g < inputs / GROUP; g++, panel += INT8_GROUP_BYTES)
    for (int h = 0; h < 2; h++, out += HALF_BYTES)
      _Pragma("GCC unroll 8") for (int quad = 0; quad < GROUP / 4; quad++) _mm512_store_si512(
          out + quad * 64, _mm512_xor_si512(load_i32(panel + quad * 128 + h * 64), too_high));
}

template <>
inline void unpack_bytes<Format::Int4>(const uint8_t* panel, int64_t inputs, uint8_t* out) {
  const I32 nibble = _mm512_set1_epi8(15);
  for (int64_t g = 0; g < inputs / GROUP; g++, panel += INT4_GROUP_BYTES)
    for (int h = 0; h < 2; h++, out += HALF_BYTES)
      _Pragma("GCC unroll 4") for (int eight = 0; eight < GROUP / 8; eight++) {
        const I32 both = load_i32(panel + eight * 128 + h * 64);
        _mm512_store_si512(out + eight * 128, _mm512_and_si512(both, nibble));
        _mm512_store_si512(out + eight * 128 + 64,
                           _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble));
      }
}

// What a group's sums of bytes add to a row, in tiles.h's order of operations.
template <Format FORMAT> struct Scaling;

template <> struct Scaling<Format::Int8> {
  static constexpr int64_t BYTES = INT8_GROUP_BYTES, STEPS = GROUP / 4;
  F32 scale;

  Scaling(const uint8_t* group, int half)
      : scale(load_fp16(reinterpret_cast<const fp16*>(group + GROUP * PANEL) + half * LANES)) {}

  F32 add(F32 sum, I32 dot, const TileRows& x, int64_t at) const {
    return fma(to_f32(dot) * scale, splat(x.scales[at]), sum);
  }
};

template <> struct Scaling<Format::Int4> {
  static constexpr int64_t BYTES = INT4_GROUP_BYTES, STEPS = GROUP / 8;
  F32 scale, minimum;

  Scaling(const uint8_t* group, int half) {
    const fp16* scales = reinterpret_cast<const fp16*>(group + GROUP * PANEL / 2) + half * LANES;
    scale = load_fp16(scales);
    minimum = load_fp16(scales + PANEL);
  }

  F32 add(F32 sum, I32 dot, const TileRows& x, int64_t at) const {
    const F32 whole = fma(to_f32(dot), scale, splat(x.totals[at]) * minimum);
    return fma(whole, splat(x.scales[at]), sum);
  }
};

// Up to 16 rows by one panel of bytes. A group is one instruction for each half of the panel, and
// its sums go through memory to be scaled: so that they needn't be waited for, four groups are
// multiplied before the four before them are scaled.
template <Format FORMAT, int ROWS> struct MatrixBytesTile {
  static constexpr int TOGETHER = 4;
  using Dots = int32_t[2][ROWS][LANES];

  static void run(const TileRows& x, const PanelPlace& place, int64_t, TilePrefetch ahead,
                  float* out) {
    alignas(64) Dots dots[2][TOGETHER];
    set_matrix_shape({ROWS, ROWS, GROUP / 4});
    for (int64_t g = 0; g < x.groups + TOGETHER; g += TOGETHER) {
      Dots* now = dots[g / TOGETHER % 2];
      multiply<0>(x, g, place.bytes, ahead, now);
      multiply<1>(x, g, place.bytes, ahead, now);
      multiply<2>(x, g, place.bytes, ahead, now);
      multiply<3>(x, g, place.bytes, ahead, now);
      if (g > 0) scale(x, g - TOGETHER, place.first, dots[1 - g / TOGETHER % 2], out);
    }
  }

 private:
  template <int I>
  static inline __attribute__((always_inline)) void multiply(const TileRows& x, int64_t first,
                                                             const uint8_t* bytes,
                                                             TilePrefetch& ahead, Dots* dots) {
    constexpr int SUM = I % 2 * 2,
                  LEFT = 6 + I % 2;  // so that two groups don't wait for each other
    const int64_t g = first + I;
    if (g >= x.groups) return;
    clear_matrix<SUM>(), clear_matrix<SUM + 1>();
    load_matrix<LEFT>(x.data + g * GROUP, x.row_bytes);
    load_matrix<4>(bytes + 2 * g * HALF_BYTES, 64);
    multiply_bytes<SUM, LEFT, 4>();
    load_matrix<5>(bytes + (2 * g + 1) * HALF_BYTES, 64);
    multiply_bytes<SUM + 1, LEFT, 5>();
    store_matrix<SUM>(dots[I][0], 64), store_matrix<SUM + 1>(dots[I][1], 64);
    using S = Scaling<FORMAT>;
    for (int64_t step = 0; step < S::STEPS; step++)
      ahead.prefetch<2, S::BYTES / S::STEPS>(g * S::STEPS + step);
  }

  static inline __attribute__((always_inline)) void scale(const TileRows& x, int64_t first,
                                                          const uint8_t* panel, const Dots* dots,
                                                          float* out) {
    const int64_t end = std::min(first + TOGETHER, x.groups);
    for (int h = 0; h < 2; h++) {
      F32 sum[ROWS];
      _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++) sum[r] =
          first ? load(out + r * PANEL + h * LANES) : splat(0.f);
      for (int64_t g = first; g < end; g++) {
        const Scaling<FORMAT> scaling(panel + g * Scaling<FORMAT>::BYTES, h);
        _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++) sum[r] =
            scaling.add(sum[r], load_i32(dots[g - first][h][r]), x, r * x.groups + g);
      }
      _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)
          store(out + r * PANEL + h * LANES, sum[r]);
    }
  }
};

}  // namespace chatsite
#endif
