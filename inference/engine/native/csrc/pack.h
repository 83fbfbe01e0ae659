// Packing of weights into the formats of formats.h, and back (for tests and other paths).
#pragma once
#include "formats.h"
#include "threads.h"

namespace chatsite {

// Pack `weights` (outputs x inputs, row by row) into `out`, which holds panels(outputs) panels of
// zeros. `inputs` is a multiple of 32.
void pack(Lane& lane, Format format, const float* weights, int64_t outputs, int64_t inputs,
          uint8_t* out);

// The matrix that `packed` stands for, as the products see it.
void unpack(Lane& lane, const Weights& packed, float* out);

}  // namespace chatsite
