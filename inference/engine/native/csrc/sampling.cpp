// See sampling.h. A row is one thread's work, so nothing here depends on the batch.
#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "simd/math.h"

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

// The maximum of each block of logits; false if one of them is NaN.
bool block_maxima(const float* logits, int64_t width, std::vector<float>& maxima) {
  maxima.resize((width + BLOCK - 1) / BLOCK);
  Mask nan = no_lanes();
  for (size_t b = 0; b < maxima.size(); b++) {
    F32 largest = splat(-INFINITY);
    for (int64_t i = b * BLOCK; i < int64_t(b + 1) * BLOCK; i += LANES) {
      const F32 v = load_partial(logits + i, width - i, -INFINITY);
      nan = nan | unordered(v, v);
      largest = maximum(largest, v);
    }
    maxima[b] = reduce_max(largest);
  }
  return !any(nan);
}

// e^((x - max) * sharpness), nothing where that is too small to count. Sharpness is 1 /
// temperature.
F32 mass(F32 x, F32 max, F32 sharpness) {
  const F32 power = (x - max) * sharpness;
  return select(greater(power, splat(-87.f)), exp(power), splat(0.f));
}

// The first largest logit of a row.
int64_t first_of(const float* logits, int64_t width, const std::vector<float>& maxima, float max) {
  const int64_t block = std::find(maxima.begin(), maxima.end(), max) - maxima.begin();
  return std::find(logits + block * BLOCK, logits + width, max) - logits;
}

// The `count` largest logits in falling order.
void find_best(const float* logits, int64_t width, const std::vector<float>& maxima, int64_t count,
               std::vector<Candidate>& found) {
  static thread_local std::vector<float> ranked;
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
  found.resize(count);
}

// The sum of all masses relative to the largest logit's.
float total_mass(const float* logits, int64_t width, float max, float sharpness) {
  const F32 top = splat(max), factor = splat(sharpness);
  F32 even = splat(0.f), odd = splat(0.f);
  for (int64_t i = 0; i < width; i += 2 * LANES) {
    even = even + mass(load_partial(logits + i, width - i, -INFINITY), top, factor);
    odd = odd + mass(load_partial(logits + i + LANES, width - i - LANES, -INFINITY), top, factor);
  }
  return reduce_add(even + odd);
}

// Walk the candidates' masses, likeliest first, to where the rule's number lies. Sums are double: a
// vocabulary of small terms must not drift. Holtzman et al., 2019 (top-p); Nguyen et al., 2024
// (min-p).
Drawn pick(const std::vector<Candidate>& found, const double* masses, int64_t width,
           const Rule& rule) {
  const int64_t count = int64_t(found.size());
  const bool is_cut_by_k = rule.top_k > 0 && rule.top_k < width;
  const int64_t in_k = is_cut_by_k ? std::min(rule.top_k, count) : count;
  if (is_cut_by_k && rule.top_k > count) return {UNSETTLED, 0};

  double mass_k = 1;  // top-p counts mass among what top-k kept
  if (is_cut_by_k) {
    mass_k = 0;
    for (int64_t i = 0; i < in_k; i++) mass_k += masses[i];
  }
  int64_t kept = 0;
  double kept_mass = 0;
  for (; kept < in_k; kept++) {
    if (kept > 0 && (kept_mass >= rule.top_p * mass_k || masses[kept] < rule.min_p * masses[0]))
      break;
    kept_mass += masses[kept];
  }
  // With a candidate out, all behind it are out too, and the kept mass is known.
  const bool is_cut = is_cut_by_k || kept < count || count == width;
  const bool is_free = rule.top_p >= 1 && rule.min_p <= 0;
  const double whole = is_cut ? kept_mass : 1, target = rule.uniform * whole;
  if (!is_cut && !(is_free && target < kept_mass)) return {UNSETTLED, 0};

  int64_t at =
      0;  // rounding may leave the target at the very end: the last kept candidate takes it
  double through = masses[0];  // the mass up to this one, itself included
  for (; through <= target && at < kept - 1; through += masses[at]) at++;
  Drawn drawn{found[at].index, float(std::log(masses[at] / whole))};
  drawn.kept = is_cut ? kept : width;
  drawn.below = (through - masses[at]) / whole;
  drawn.kept_mass = whole;
  drawn.mass_k = mass_k;
  drawn.floor = is_cut ? found[0].logit - found[kept - 1].logit : INFINITY;
  drawn.best_mass = masses[0];
  return drawn;
}

Drawn draw_row(const float* logits, int64_t width, const Rule& rule, bool detailed) {
  static thread_local std::vector<float> maxima;
  static thread_local std::vector<Candidate> found;
  const bool sound = block_maxima(logits, width, maxima);
  const float max = *std::max_element(maxima.begin(), maxima.end());
  if (!sound || !std::isfinite(max)) return {NOT_FINITE, 0};
  double log_total = 0;
  if (detailed && rule.temperature != 1)
    log_total = double(max) + std::log(double(total_mass(logits, width, max, 1)));
  if (rule.temperature <= 0) {
    Drawn drawn{first_of(logits, width, maxima, max), 0};
    drawn.best = max;
    drawn.log_total = log_total;
    return drawn;
  }

  const float sharpness = 1 / std::max(rule.temperature, 1e-5f);
  const float total = total_mass(logits, width, max, sharpness);
  if (detailed && rule.temperature == 1) log_total = double(max) + std::log(double(total));
  double masses[MORE_CANDIDATES];
  Drawn drawn{UNSETTLED, 0};
  for (const int64_t count : {CANDIDATES, MORE_CANDIDATES}) {
    find_best(logits, width, maxima, std::min(count, width), found);
    for (size_t i = 0; i < found.size(); i++)
      masses[i] = first_lane(mass(splat(found[i].logit), splat(max), splat(sharpness))) / total;
    drawn = pick(found, masses, width, rule);
    if (drawn.token != UNSETTLED) break;
  }
  drawn.best = max;
  drawn.log_total = log_total;
  return drawn;
}

// The sum of all masses relative to the largest logit's, and of each times its distance.
std::pair<float, float> masses_and_distances(const float* logits, int64_t width, float max) {
  const F32 top = splat(max), nothing = splat(0.f), least = splat(-87.f);
  F32 sum = nothing, weighted = nothing;
  for (int64_t i = 0; i < width; i += LANES) {
    const F32 power = load_partial(logits + i, width - i, -INFINITY) - top;
    const F32 counted = maximum(least, power);
    const F32 m = select(greater(power, least), exp(counted), nothing);
    sum = sum + m;
    weighted = fma(m, counted, weighted);
  }
  return {reduce_add(sum), reduce_add(weighted)};
}

Described describe_row(const float* logits, int64_t width, int64_t count, float* below_best,
                       int32_t* indices) {
  static thread_local std::vector<float> maxima;
  static thread_local std::vector<Candidate> found;
  const bool sound = block_maxima(logits, width, maxima);
  const float max = *std::max_element(maxima.begin(), maxima.end());
  if (!sound || !std::isfinite(max)) {
    std::fill_n(below_best, count, NAN);
    std::fill_n(indices, count, 0);
    return {NAN, NAN, NAN};
  }
  const auto [total, weighted] = masses_and_distances(logits, width, max);
  find_best(logits, width, maxima, count, found);
  for (int64_t i = 0; i < count; i++) {
    below_best[i] = max - found[i].logit;
    indices[i] = found[i].index;
  }
  const float log_total = std::log(total);
  return {max, -log_total, log_total - weighted / total};
}

void logprobs_of_row(const float* logits, int64_t width, int64_t token, int64_t count,
                     float& chosen, float* best, int64_t* indices) {
  static thread_local std::vector<float> maxima;
  static thread_local std::vector<Candidate> found;
  const bool sound = block_maxima(logits, width, maxima);
  const float max = *std::max_element(maxima.begin(), maxima.end());
  if (!sound || !std::isfinite(max)) {
    chosen = NAN;
    std::fill_n(best, count, NAN);
    std::fill_n(indices, count, 0);
    return;
  }
  const float log_total = std::log(total_mass(logits, width, max, 1));
  chosen = logits[token] - max - log_total;
  if (count == 0) return;
  find_best(logits, width, maxima, count, found);
  for (int64_t i = 0; i < count; i++) {
    best[i] = found[i].logit - max - log_total;
    indices[i] = found[i].index;
  }
}

}  // namespace

void draw(Lane& lane, const float* logits, int64_t rows, int64_t width, const Rule* rules,
          bool detailed, Drawn* drawn) {
  lane.for_each(
      rows, [&](int64_t r) { drawn[r] = draw_row(logits + r * width, width, rules[r], detailed); });
}

void describe(Lane& lane, const float* logits, int64_t rows, int64_t width, int64_t count,
              Described* described, float* below_best, int32_t* indices) {
  lane.for_each(rows, [&](int64_t r) {
    described[r] =
        describe_row(logits + r * width, width, count, below_best + r * count, indices + r * count);
  });
}

void logprobs(Lane& lane, const float* logits, int64_t rows, int64_t width, const int64_t* tokens,
              int64_t count, float* chosen, float* best, int64_t* indices) {
  lane.for_each(rows, [&](int64_t r) {
    logprobs_of_row(logits + r * width, width, tokens[r], count, chosen[r], best + r * count,
                    indices + r * count);
  });
}

}  // namespace chatsite
