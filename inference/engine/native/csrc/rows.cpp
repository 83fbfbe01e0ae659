// What is done to whole rows between products. One row is one thread's work.
#include <cmath>

#include "linear.h"

namespace chatsite {
namespace {

float inverse_rms(const float* x, int64_t width, float epsilon) {
  F32 even = splat(0.f), odd = splat(0.f);
  for (int64_t k = 0; k < width; k += 2 * LANES) {
    const F32 a = load(x + k), b = load(x + k + LANES);
    even = fma(a, a, even);
    odd = fma(b, b, odd);
  }
  const float sum = reduce_add(even + odd);
  return 1.f / std::sqrt(sum / float(width) + epsilon);
}

}  // namespace

void rms_norm(Lane& lane, const float* x, int64_t rows, int64_t width, const float* weight,
              float epsilon, Activations& out) {
  lane.for_each(rows, [&](int64_t r) {
    const float* row = x + r * width;
    const F32 factor = splat(inverse_rms(row, width, epsilon));
    for (int64_t k = 0; k < width; k += GROUP) {
      const F32 low = load(row + k) * factor * load(weight + k);
      const F32 high = load(row + k + LANES) * factor * load(weight + k + LANES);
      put_group(out, r, k / GROUP, low, high);
    }
  });
}

void rms_norm(Lane& lane, const float* x, int64_t rows, int64_t width, const float* weight,
              float epsilon, float* out, bool add, float scale) {
  lane.for_each(rows, [&](int64_t r) {
    const float* row = x + r * width;
    float* to = out + r * width;
    const F32 factor = splat(inverse_rms(row, width, epsilon)), scales = splat(scale);
    for (int64_t k = 0; k < width; k += LANES) {
      const F32 normed = load(row + k) * factor * load(weight + k);
      store(to + k, add ? fma(normed, scales, load(to + k)) : normed * scales);
    }
  });
}

void convert(Lane& lane, const float* x, int64_t rows, int64_t width, Activations& out) {
  lane.for_each(rows, [&](int64_t r) {
    const float* row = x + r * width;
    for (int64_t k = 0; k < width; k += GROUP)
      put_group(out, r, k / GROUP, load(row + k), load(row + k + LANES));
  });
}

}  // namespace chatsite
