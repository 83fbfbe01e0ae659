// What is done to whole rows between products. One row is one thread's work.
#include <cmath>

#include "linear.h"

namespace chatsite {
namespace {

float inverse_rms(const float* x, int64_t width, float epsilon) {
  Floats even = all(0.f), odd = all(0.f);
  for (int64_t k = 0; k < width; k += 2 * LANES) {
    const Floats a = load(x + k), b = load(x + k + LANES);
    even = _mm512_fmadd_ps(a, a, even);
    odd = _mm512_fmadd_ps(b, b, odd);
  }
  const float sum = _mm512_reduce_add_ps(_mm512_add_ps(even, odd));
  return 1.f / std::sqrt(sum / float(width) + epsilon);
}

}  // namespace

void rms_norm(Worker& worker, const float* x, int64_t rows, int64_t width, const float* weight,
              float epsilon, Activations& out) {
  worker.for_each(rows, [&](int64_t r) {
    const float* row = x + r * width;
    const Floats factor = all(inverse_rms(row, width, epsilon));
    for (int64_t k = 0; k < width; k += GROUP) {
      const Floats low = _mm512_mul_ps(_mm512_mul_ps(load(row + k), factor), load(weight + k));
      const Floats high =
          _mm512_mul_ps(_mm512_mul_ps(load(row + k + LANES), factor), load(weight + k + LANES));
      put_group(out, r, k / GROUP, low, high);
    }
  });
}

void rms_norm(Worker& worker, const float* x, int64_t rows, int64_t width, const float* weight,
              float epsilon, float* out, bool add, float scale) {
  worker.for_each(rows, [&](int64_t r) {
    const float* row = x + r * width;
    float* to = out + r * width;
    const Floats factor = all(inverse_rms(row, width, epsilon)), scales = all(scale);
    for (int64_t k = 0; k < width; k += LANES) {
      const Floats normed = _mm512_mul_ps(_mm512_mul_ps(load(row + k), factor), load(weight + k));
      store(to + k,
            add ? _mm512_fmadd_ps(normed, scales, load(to + k)) : _mm512_mul_ps(normed, scales));
    }
  });
}

void convert(Worker& worker, const float* x, int64_t rows, int64_t width, Activations& out) {
  worker.for_each(rows, [&](int64_t r) {
    const float* row = x + r * width;
    for (int64_t k = 0; k < width; k += GROUP)
      put_group(out, r, k / GROUP, load(row + k), load(row + k + LANES));
  });
}

}  // namespace chatsite
