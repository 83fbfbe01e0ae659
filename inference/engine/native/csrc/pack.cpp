// Packing: run once per matrix, at load. See formats.h for the layouts.
#include "pack.h"

#include <algorithm>
#include <cmath>

namespace chatsite {
namespace {

void pack_bf16(const float* row, int64_t inputs, int column, uint8_t* panel) {
  bf16* out = reinterpret_cast<bf16*>(panel);
  alignas(64) bf16 rounded[LANES];
  for (int64_t k = 0; k < inputs; k += LANES) {
    store_bf16(rounded, load(row + k));
    for (int i = 0; i < LANES; i++) out[(k + i) / 2 * 64 + column * 2 + i % 2] = rounded[i];
  }
}

void pack_fp32(const float* row, int64_t inputs, int column, uint8_t* panel) {
  float* out = reinterpret_cast<float*>(panel);
  for (int64_t k = 0; k < inputs; k++) out[k * PANEL + column] = row[k];
}

// Where a weight lies in its pair of inputs.
int fp16_place(int64_t k, int column) {
  return column / LANES * 2 * LANES + int(k % 2) * LANES + column % LANES;
}

void pack_fp16(const float* row, int64_t inputs, int column, uint8_t* panel) {
  fp16* out = reinterpret_cast<fp16*>(panel);
  for (int64_t k = 0; k < inputs; k++)
    out[k / 2 * 2 * PANEL + fp16_place(k, column)] = to_fp16(row[k]);
}

void pack_int8(const float* row, int64_t inputs, int column, uint8_t* panel) {
  for (int64_t k = 0; k < inputs; k += GROUP, panel += INT8_GROUP_BYTES, row += GROUP) {
    float largest = 1e-7f;
    for (int i = 0; i < GROUP; i++) largest = std::max(largest, std::fabs(row[i]));
    const fp16 stored = to_fp16(largest / 127);
    const float scale = std::max(from_fp16(stored), 1e-9f);
    reinterpret_cast<fp16*>(panel + GROUP * PANEL)[column] = stored;
    for (int i = 0; i < GROUP; i++) {
      const int level = std::clamp(int(std::nearbyint(row[i] / scale)), -127, 127);
      panel[i / 4 * 128 + column * 4 + i % 4] = uint8_t(level + 128);
    }
  }
}

// The step of the coarsest evenly spaced grid of at most 16 levels that `row`'s 32 weights lie on,
// or 0.
//
// Weights that were dequantised from four bits lie on such a grid, but need not use its first or
// last level: then (largest - smallest) / 15 would be another grid and lose twice.
float grid_step(const float* row, float smallest, float largest) {
  const float span = largest - smallest;
  const F32 first = load(row) - splat(smallest), second = load(row + LANES) - splat(smallest);
  for (int steps = 1; steps <= 15; steps++) {
    const F32 to_levels = splat(steps / span), tolerance = splat(.02f);
    const auto is_off = [&](F32 above) {
      const F32 level = above * to_levels;
      const F32 error = level - round_even(level);
      return not_less_equal(abs(error), tolerance);  // NaN is off, too
    };
    if (!any(is_off(first) | is_off(second))) return span / steps;
  }
  return 0;
}

float squared_error(const float* row, float step, float minimum) {
  float error = 0;
  for (int i = 0; i < GROUP; i++) {
    const float level = std::clamp(std::nearbyint((row[i] - minimum) / step), 0.f, 15.f);
    const float difference = row[i] - (minimum + step * level);
    error += difference * difference;
  }
  return error;
}

// Scale and minimum for 32 weights: their own grid, else the best of a few slightly narrower spans.
void choose_grid(const float* row, float& scale, float& minimum) {
  const auto [low, high] = std::minmax_element(row, row + GROUP);
  const float smallest = *low, largest = *high;
  scale = grid_step(row, smallest, largest);
  minimum = smallest;
  if (scale > 0) return;
  float best = INFINITY;
  for (float cut : {0.f, .03f, .06f, .09f}) {  // giving up the ends serves those in between
    const float span = largest - smallest;
    const float step = std::max(span * (1 - 2 * cut) / 15, 1e-7f);
    const float error = squared_error(row, step, smallest + cut * span);
    if (error < best) {
      best = error;
      scale = step;
      minimum = smallest + cut * span;
    }
  }
}

void pack_int4(const float* row, int64_t inputs, int column, uint8_t* panel) {
  for (int64_t k = 0; k < inputs; k += GROUP, panel += INT4_GROUP_BYTES, row += GROUP) {
    float scale, minimum;
    choose_grid(row, scale, minimum);
    fp16* scales = reinterpret_cast<fp16*>(panel + GROUP * PANEL / 2);
    scales[column] = to_fp16(scale);
    scales[PANEL + column] = to_fp16(minimum);
    scale = std::max(from_fp16(scales[column]), 1e-9f);  // round to what the products will read
    minimum = from_fp16(scales[PANEL + column]);
    for (int i = 0; i < GROUP; i++) {
      const int level = std::clamp(int(std::nearbyint((row[i] - minimum) / scale)), 0, 15);
      panel[i / 8 * 128 + column * 4 + i % 4] |= uint8_t(level << (i / 4 % 2 * 4));
    }
  }
}

float unpacked(const Weights& w, const uint8_t* panel, int column, int64_t k) {
  const int i = int(k % GROUP);
  switch (w.format) {
    case Format::Bf16: {
      const uint32_t bits =
          uint32_t(reinterpret_cast<const bf16*>(panel)[k / 2 * 64 + column * 2 + k % 2]) << 16;
      float value;
      std::memcpy(&value, &bits, 4);
      return value;
    }
    case Format::Int8: {
      const uint8_t* group = panel + k / GROUP * INT8_GROUP_BYTES;
      const fp16* scales = reinterpret_cast<const fp16*>(group + GROUP * PANEL);
      return from_fp16(scales[column]) * (int(group[i / 4 * 128 + column * 4 + i % 4]) - 128);
    }
    case Format::Int4: {
      const uint8_t* group = panel + k / GROUP * INT4_GROUP_BYTES;
      const fp16* scales = reinterpret_cast<const fp16*>(group + GROUP * PANEL / 2);
      const int level = group[i / 8 * 128 + column * 4 + i % 4] >> (i / 4 % 2 * 4) & 15;
      return from_fp16(scales[column]) * level + from_fp16(scales[PANEL + column]);
    }
    case Format::Fp32: return reinterpret_cast<const float*>(panel)[k * PANEL + column];
    case Format::Fp16: {
      const fp16* pairs = reinterpret_cast<const fp16*>(panel);
      return from_fp16(pairs[k / 2 * 2 * PANEL + fp16_place(k, column)]);
    }
  }
  return 0;
}

}  // namespace

void pack(Lane& lane, Format format, const float* weights, int64_t outputs, int64_t inputs,
          uint8_t* out) {
  const int64_t bytes = panel_bytes(format, inputs);
  lane.for_each(panels(outputs), [&](int64_t p) {
    for (int column = 0; column < PANEL && p * PANEL + column < outputs; column++) {
      const float* row = weights + (p * PANEL + column) * inputs;
      uint8_t* panel = out + p * bytes;
      switch (format) {
        case Format::Bf16: pack_bf16(row, inputs, column, panel); break;
        case Format::Int8: pack_int8(row, inputs, column, panel); break;
        case Format::Int4: pack_int4(row, inputs, column, panel); break;
        case Format::Fp32: pack_fp32(row, inputs, column, panel); break;
        case Format::Fp16: pack_fp16(row, inputs, column, panel); break;
      }
    }
  });
}

void unpack(Lane& lane, const Weights& packed, float* out) {
  lane.for_each(packed.outputs, [&](int64_t n) {
    for (int64_t k = 0; k < packed.inputs; k++)
      out[n * packed.inputs + k] = unpacked(packed, packed.panel(n / PANEL), int(n % PANEL), k);
  });
}

}  // namespace chatsite
