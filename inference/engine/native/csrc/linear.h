// Products of activations with packed weights, and what is done to them before they leave
// registers.
#pragma once
#include "formats.h"
#include "team.h"
#include "upcoming.h"

namespace chatsite {

enum class Gate : int { Silu = 0, GeluTanh = 1 };

// Normalise rows by their root mean square, times `weight`, into activations for a product.
// Zhang and Sennrich, 2019.
void rms_norm(Worker& worker, const float* x, int64_t rows, int64_t width, const float* weight,
              float epsilon, Activations& out);

// The same with float results. `add` puts them on top of `out` instead of replacing it; `scale`
// multiplies them first.
void rms_norm(Worker& worker, const float* x, int64_t rows, int64_t width, const float* weight,
              float epsilon, float* out, bool add, float scale);

// Rows as they are, into activations.
void convert(Worker& worker, const float* x, int64_t rows, int64_t width, Activations& out);

// out (rows x outputs) = x W^T + bias, or with `add`: out += scale * (x W^T + bias). Asks for what
// is upcoming on the side.
void linear(Worker& worker, const Activations& x, int64_t rows, const Weights& w, float* out,
            bool add = false, float scale = 1.f, Upcoming* upcoming = nullptr);

// gate(x G^T) * (x U^T), where W's outputs are those of G and then those of U, straight into the
// activations of the product that follows. W is marked as gated; outputs / 2 is a multiple of 32.
void gated_linear(Worker& worker, const Activations& x, int64_t rows, const Weights& w, Gate gate,
                  Activations& out, Upcoming* upcoming = nullptr);

}  // namespace chatsite
