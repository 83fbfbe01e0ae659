// See sampling.h. A row is one thread's work, so nothing here depends on the batch.
#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "vec.h"

namespace chatsite {
namespace {

constexpr int64_t BLOCK = 64;  // logits whose maximum is kept

struct Candidate {
  float logit;
  int32_t index;
  bool operator<(const Candidate& other) const {  // before the other, that is
    return logit > other.logit || (logit == other.logit && index < other.index);
  }
};

Floats load_some(const float* p, int64_t room) {
  if (room >= LANES) return load(p);
  const __mmask16 mask = room <= 0 ? 0 : __mmask16((1u << room) - 1);
  return _mm512_mask_loadu_ps(all(-INFINITY), mask, p);
}

// The maximum of each block of logits; false if one of them is NaN.
bool block_maxima(const float* logits, int64_t width, std::vector<float>& maxima) {
  maxima.resize((width + BLOCK - 1) / BLOCK);
  __mmask16 nan = 0;
  for (size_t b = 0; b < maxima.size(); b++) {
    Floats largest = all(-INFINITY);
    for (int64_t i = b * BLOCK; i < int64_t(b + 1) * BLOCK; i += LANES) {
      const Floats v = load_some(logits + i, width - i);
      nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
      largest = _mm512_max_ps(largest, v);
    }
    maxima[b] = _mm512_reduce_max_ps(largest);
  }
  return nan == 0;
}

// e^((x - max) / temperature), nothing where that is too small to count.
Floats mass(Floats x, Floats max, Floats temperature) {
  const Floats power = _mm512_div_ps(_mm512_sub_ps(x, max), temperature);
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(power, all(-87.f), _CMP_GT_OQ), exp(power));
}

void likeliest_of_row(const float* logits, int64_t width, float temperature, int64_t count, float* masses,
                      int64_t* indices) {
  static thread_local std::vector<float> maxima, ranked;
  static thread_local std::vector<Candidate> found;
  const bool sound = block_maxima(logits, width, maxima);
  const float max = *std::max_element(maxima.begin(), maxima.end());
  if (!sound || !std::isfinite(max)) {
    std::fill_n(masses, count, NAN);
    for (int64_t i = 0; i < count; i++) indices[i] = i;
    return;
  }
  // `count` blocks have a maximum of at least `least`, and so `count` logits are that large.
  float least = -INFINITY;
  if (int64_t(maxima.size()) >= count) {
    ranked = maxima;
    std::nth_element(ranked.begin(), ranked.begin() + count - 1, ranked.end(), std::greater<>());
    least = ranked[count - 1];
  }
  found.clear();
  for (size_t b = 0; b < maxima.size(); b++) {
    if (maxima[b] < least) continue;
    for (int64_t i = b * BLOCK; i < std::min<int64_t>(width, (b + 1) * BLOCK); i++)
      if (logits[i] >= least) found.push_back({logits[i], int32_t(i)});
  }
  std::partial_sort(found.begin(), found.begin() + count, found.end());

  const Floats top = all(max), divisor = all(temperature);
  Floats even = all(0.f), odd = all(0.f);
  for (int64_t i = 0; i < width; i += 2 * LANES) {
    even = _mm512_add_ps(even, mass(load_some(logits + i, width - i), top, divisor));
    odd = _mm512_add_ps(odd, mass(load_some(logits + i + LANES, width - i - LANES), top, divisor));
  }
  const float total = _mm512_reduce_add_ps(_mm512_add_ps(even, odd));
  for (int64_t i = 0; i < count; i++) {
    masses[i] = _mm512_cvtss_f32(mass(all(found[i].logit), top, divisor)) / total;
    indices[i] = found[i].index;
  }
}

}  // namespace

void likeliest(Worker& worker, const float* logits, int64_t rows, int64_t width, const float* temperatures,
               int64_t count, float* masses, int64_t* indices) {
  worker.for_each(rows, [&](int64_t r) {
    likeliest_of_row(logits + r * width, width, temperatures[r], count, masses + r * count, indices + r * count);
  });
}

}  // namespace chatsite
