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
//   Fp32   for each input k:                     32 x W[n][k]                           128 bytes
//
//   Fp16   for each pair of inputs k, k+1, for each half of 16 outputs:
//                                               16 x W[n][k], 16 x W[n][k+1]           64 bytes x 2
//
// Int8 weights are stored as unsigned bytes because the instruction multiplies unsigned by signed;
// the 128 too many per weight are taken off through the sum of the activations.
//
// All sets read these layouts: sixteen outputs are 64 bytes of a step, whatever a register holds.
// Activations (M rows x K) lie row by row, as RowKind has it.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "simd/math.h"

namespace chatsite {

constexpr int PANEL = 32;  // outputs of a panel: two vectors of 16 lanes
constexpr int GROUP = 32;  // inputs that share a scale

enum class Format : int { Bf16 = 0, Int8 = 1, Int4 = 2, Fp32 = 3, Fp16 = 4 };

constexpr int64_t BF16_PAIR_BYTES = PANEL * 2 * 2, FP16_PAIR_BYTES = PANEL * 2 * 2;
constexpr int64_t FP32_BYTES = PANEL * 4;
constexpr int64_t INT8_GROUP_BYTES = GROUP * PANEL + PANEL * 2;
constexpr int64_t INT4_GROUP_BYTES = GROUP * PANEL / 2 + PANEL * 4;

inline int64_t panels(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }

inline int64_t panel_bytes(Format format, int64_t inputs) {
  switch (format) {
    case Format::Bf16: return inputs / 2 * BF16_PAIR_BYTES;
    case Format::Int8: return inputs / GROUP * INT8_GROUP_BYTES;
    case Format::Int4: return inputs / GROUP * INT4_GROUP_BYTES;
    case Format::Fp32: return inputs * FP32_BYTES;
    case Format::Fp16: return inputs / 2 * FP16_PAIR_BYTES;
  }
  return 0;
}

// How rows of activations are kept for a product: as pairs of bf16, as floats, as floats rounded to
// bf16 (where bf16 has no instruction and pairs would be widened again and again), or as signed
// bytes with one scale per group.
enum class RowKind : int { Bf16, Fp32, RoundedFp32, Bytes };

constexpr RowKind row_kind(Format format) {
  if (format == Format::Int8 || format == Format::Int4) return RowKind::Bytes;
  if (format != Format::Bf16) return RowKind::Fp32;
  return HAS_BF16_DOT ? RowKind::Bf16 : RowKind::RoundedFp32;
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
  bool is_quantised() const { return row_kind(format) == RowKind::Bytes; }
};

// Rows made ready to be multiplied. Buffers grow and are kept from step to step.
class Activations {
 public:
  void resize(RowKind kind, int64_t rows, int64_t width) {
    this->kind = kind;
    this->width = width;
    groups = width / GROUP;
    row_bytes = kind == RowKind::Bytes ? width : kind == RowKind::Bf16 ? 2 * width : 4 * width;
    grow(data, rows * row_bytes + 64);
    if (kind == RowKind::Bytes) {
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
    if (kind != RowKind::Bytes) return;
    std::copy_n(&from.scales[r * groups], groups, &scales[to * groups]);
    std::copy_n(&from.totals[r * groups], groups, &totals[to * groups]);
    std::copy_n(&from.excess[r * groups], groups, &excess[to * groups]);
  }

  RowKind kind = RowKind::Bf16;
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
inline void put_group(Activations& to, int64_t r, int64_t g, F32 low, F32 high) {
  if (to.kind == RowKind::Bf16) {
    bf16* out = reinterpret_cast<bf16*>(to.row(r)) + g * GROUP;
    store_bf16(out, low);
    store_bf16(out + LANES, high);
    return;
  }
  if (to.kind != RowKind::Bytes) {
    float* out = reinterpret_cast<float*>(to.row(r)) + g * GROUP;
    const bool rounds = to.kind == RowKind::RoundedFp32;
    store(out, rounds ? round_to_bf16(low) : low);
    store(out + LANES, rounds ? round_to_bf16(high) : high);
    return;
  }
  const F32 larger = maximum(abs(low), abs(high));
  float scale = reduce_max(maximum(splat(1e-12f), larger)) / 127;
  const F32 inverse = splat(1 / scale);
  const int total = store_int8_group(to.row(r) + g * GROUP, low * inverse, high * inverse);
  // A maximum may lose a NaN and bytes can't hold one: the scale carries it to the row's result.
  if (any(unordered(low, high))) scale = __builtin_nanf("");
  to.scales[r * to.groups + g] = scale;
  to.totals[r * to.groups + g] = float(total);
  to.excess[r * to.groups + g] = -128 * total;
}

}  // namespace chatsite
