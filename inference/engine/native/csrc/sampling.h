// Chooses tokens from logits, and tells log-probabilities, in two passes over each row.
#pragma once
#include <cstdint>

#include "threads.h"

namespace chatsite {

// How one row's token is chosen; as Rule in draws.py. Temperature 0 takes the likeliest, top_k 0
// all.
struct Rule {
  float temperature;
  int64_t top_k;
  double top_p, min_p, uniform;
};

struct Drawn {
  int64_t token;  // or one of the two below
  float logp;     // under what was drawn from; 0 at temperature 0
  // What the samplers left. Masses are shares of all tokens' mass at the temperature.
  int64_t kept = 1;
  double below = 0;      // share of the kept mass before the token, likeliest first
  double kept_mass = 1;  // of the kept
  double mass_k = 1;     // of those that top-k left; 1 without
  double floor = 0;      // how far the last kept logit lies under the largest
  double best_mass = 1;  // of the likeliest
  double best = 0;       // the largest logit
  double log_total = 0;  // log of the sum of e^logit; only where details are asked for
};
constexpr int64_t NOT_FINITE = -1;  // the row has a NaN or +inf, or nothing but -inf
constexpr int64_t UNSETTLED = -2;   // not even MORE_CANDIDATES tokens decide it

constexpr int64_t CANDIDATES =
    64;  // how many of the likeliest are looked at; most draws fall among them
constexpr int64_t MORE_CANDIDATES = 512;

// One token for each of `rows` rows of `width` logits; `detailed` fills log_total too, which takes
// another pass over the row.
void draw(Lane& lane, const float* logits, int64_t rows, int64_t width, const Rule* rules,
          bool detailed, Drawn* drawn);

// What a row of logits says before any sampler: the largest logit, its log-probability, the entropy
// in nats, and how far the `count` likeliest lie under the largest, with their indices. All NaN
// where the row isn't finite. count <= width.
struct Described {
  float best, best_logprob, entropy;
};
void describe(Lane& lane, const float* logits, int64_t rows, int64_t width, int64_t count,
              Described* described, float* below_best, int32_t* indices);

// For each row the log-probability of tokens[row], and those of the `count` likeliest tokens in
// falling order (of equal ones the first comes first) with their indices. All NaN where the row
// isn't finite. count <= width.
void logprobs(Lane& lane, const float* logits, int64_t rows, int64_t width, const int64_t* tokens,
              int64_t count, float* chosen, float* best, int64_t* indices);

}  // namespace chatsite
