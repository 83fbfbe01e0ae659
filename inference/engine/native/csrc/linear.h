// Products of activations with packed weights, and what is done to them before they leave
// registers.
#pragma once
#include "formats.h"
#include "prefetch.h"
#include "threads.h"

namespace chatsite {

enum class Gate : int { Silu = 0, GeluTanh = 1 };

// Normalise rows by their root mean square, times `weight`, into activations for a product.
// Zhang and Sennrich, 2019.
void rms_norm(Lane& lane, const float* x, int64_t rows, int64_t width, const float* weight,
              float epsilon, Activations& out);

// The same with float results. `add` puts them on top of `out` instead of replacing it; `scale`
// multiplies them first.
void rms_norm(Lane& lane, const float* x, int64_t rows, int64_t width, const float* weight,
              float epsilon, float* out, bool add, float scale);

// Rows as they are, into activations.
void convert(Lane& lane, const float* x, int64_t rows, int64_t width, Activations& out);

// out (rows x outputs) = x W^T + bias, or with `add`: out += scale * (x W^T + bias). Asks for what
// is prefetcher on the side.
void linear(Lane& lane, const Activations& x, int64_t rows, const Weights& w, float* out,
            bool add = false, float scale = 1.f, Prefetcher* prefetcher = nullptr);

// gate(x G^T) * (x U^T), where W's outputs are those of G and then those of U, straight into the
// activations of the product that follows. W is marked as gated; outputs / 2 is a multiple of 32.
void gated_linear(Lane& lane, const Activations& x, int64_t rows, const Weights& w, Gate gate,
                  Activations& out, Prefetcher* prefetcher = nullptr);

}  // namespace chatsite
