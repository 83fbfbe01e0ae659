// How weights and activations lie in memory while they are multiplied.
//
// A weight matrix W (N outputs x K inputs) is cut into panels of 32 outputs. A panel holds all its
// K inputs in the order in which a tile reads them, so that a product streams through memory once:
//
//   Bf16   for each pair of inputs k, k+1:       32 x { W[n][k], W[n][k+1] }            128 bytes
//
//   Int8   for each group of 32 inputs:
//            for each quad k..k+3:               32 x { 4 bytes, W/scale + 128 }        128 bytes x
//            8 scales:                             32 x fp16                               64 bytes
//
//   Int4   for each group of 32 inputs:
//            for each eight k..k+7:              32 x { 4 bytes: low nibbles k..k+3,
//                                                       high nibbles k+4..k+7 }         128 bytes x
//                                                       4
//            scales, then minimums:              32 x fp16, 32 x fp16                   128 bytes
//          W = scale * nibble + minimum: the form of GGUF's Q4_1, whose weights it takes over
//          without loss when `pack` finds their grid.
//
// Int8 weights are stored as unsigned bytes because the instruction multiplies unsigned by signed;
// the 128 too many per weight are taken off through the sum of the activations.
//
// Activations (M rows x K) are bf16 row by row, or signed bytes with one scale per group of 32.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "vec.h"

namespace chatsite {

constexpr int PANEL = 32;  // outputs of a panel: two vectors of 16 lanes
constexpr int GROUP = 32;  // inputs that share a scale

enum class Format : int { Bf16 = 0, Int8 = 1, Int4 = 2 };

constexpr int64_t BF16_PAIR_BYTES = PANEL * 2 * 2;
constexpr int64_t INT8_GROUP_BYTES = GROUP * PANEL + PANEL * 2;
constexpr int64_t INT4_GROUP_BYTES = GROUP * PANEL / 2 + PANEL * 4;

inline int64_t panels(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }

inline int64_t panel_bytes(Format format, int64_t inputs) {
  switch (format) {
    case Format::Bf16: return inputs / 2 * BF16_PAIR_BYTES;
    case Format::Int8: return inputs / GROUP * INT8_GROUP_BYTES;
    case Format::Int4: return inputs / GROUP * INT4_GROUP_BYTES;
  }
  return 0;
}

// A packed matrix, and what is added to its product. Owns nothing.
struct Weights {
  Format format = Format::Bf16;
  int64_t outputs = 0, inputs = 0;
  const uint8_t* data = nullptr;
  const float* bias = nullptr;    // a multiple of 32, or null
  bool gated = false;             // the outputs are those of a gate and then those that it gates
  const Weights* next = nullptr;  // what will probably be multiplied with after these

  const uint8_t* panel(int64_t i) const { return data + i * panel_bytes(format, inputs); }
  bool is_quantised() const { return format != Format::Bf16; }
};

// Rows made ready to be multiplied. Buffers grow and are kept from step to step.
class Activations {
 public:
  void resize(bool quantised, int64_t rows, int64_t width) {
    this->quantised = quantised;
    this->width = width;
    groups = width / GROUP;
    row_bytes = quantised ? width : 2 * width;
    grow(data, rows * row_bytes + 64);
    if (quantised) {
      grow(scales, rows * groups);
      grow(totals, rows * groups);
      grow(excess, rows * groups);
    }
  }

  uint8_t* row(int64_t r) { return data.data() + r * row_bytes; }
  const uint8_t* row(int64_t r) const { return data.data() + r * row_bytes; }

  // Take row `r` of others of the same shape as row `to`.
  void copy_row(int64_t to, const Activations& from, int64_t r) {
    std::memcpy(row(to), from.row(r), row_bytes);
    if (!quantised) return;
    std::copy_n(&from.scales[r * groups], groups, &scales[to * groups]);
    std::copy_n(&from.totals[r * groups], groups, &totals[to * groups]);
    std::copy_n(&from.excess[r * groups], groups, &excess[to * groups]);
  }

  bool quantised = false;
  int64_t width = 0, groups = 0, row_bytes = 0;
  std::vector<uint8_t> data;
  std::vector<float> scales;  // (rows, groups)
  std::vector<float> totals;  // (rows, groups): the sum of the group's 32 signed bytes
  std::vector<int32_t>
      excess;  // (rows, groups): -128 times that, what Int8 weights are too high by

 private:
  template <class T> static void grow(std::vector<T>& buffer, int64_t size) {
    if (int64_t(buffer.size()) < size) buffer.resize(size);
  }
};

// Store a group of 32 values, given as two vectors, as group `g` of row `r`.
inline void put_group(Activations& to, int64_t r, int64_t g, Floats low, Floats high) {
  if (!to.quantised) {
    bf16* out = reinterpret_cast<bf16*>(to.row(r)) + g * GROUP;
    store_bf16(out, low);
    store_bf16(out + LANES, high);
    return;
  }
  const Floats larger = _mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high));
  float scale = _mm512_reduce_max_ps(_mm512_max_ps(all(1e-12f), larger)) / 127;
  const Floats inverse = all(1 / scale);
  const __m128i a = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(low, inverse)));
  const __m128i b = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(high, inverse)));
  uint8_t* out = to.row(r) + g * GROUP;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), a);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + LANES), b);
  // A maximum may lose a NaN and bytes can't hold one: the scale carries it to the row's result.
  if (_mm512_cmp_ps_mask(low, high, _CMP_UNORD_Q)) scale = __builtin_nanf("");
  to.scales[r * to.groups + g] = scale;
  const __m512i ones = _mm512_set1_epi8(1);
  Words sum = _mm512_setzero_si512();
  dot_bytes(sum, ones, _mm512_zextsi256_si512(_mm256_set_m128i(b, a)));
  const int total = _mm512_reduce_add_epi32(sum);
  to.totals[r * to.groups + g] = float(total);
  to.excess[r * to.groups + g] = -128 * total;
}

}  // namespace chatsite
