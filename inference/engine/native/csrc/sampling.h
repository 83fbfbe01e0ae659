// The likeliest tokens of each row and their share of the whole, in two passes over the logits.
#pragma once
#include <cstdint>

#include "team.h"

namespace chatsite {

// For each of `rows` rows of `width` logits: the `count` largest in falling order (of equal ones the
// first comes first), their indices, and their mass under softmax(logits / temperature). A row with
// a NaN, with +inf, or of nothing but -inf gets masses that are NaN. count <= width.
void likeliest(Worker& worker, const float* logits, int64_t rows, int64_t width, const float* temperatures,
               int64_t count, float* masses, int64_t* indices);

}  // namespace chatsite
