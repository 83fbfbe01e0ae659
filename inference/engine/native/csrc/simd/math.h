// The few functions of real numbers that a transformer needs, over simd.h.
#pragma once
#include "simd.h"

namespace chatsite {

// e^x to about 2e-7 relative, 0 below -87 (what a softmax needs); NaN stays NaN.
ALWAYS_INLINE F32 exp(F32 x) {
  const F32 t = maximum(splat(-87.f), x) * splat(1.44269504f);
  const F32 whole = round_even(t);
  const F32 part = t - whole;
  F32 p = splat(.00133335581f);  // 2^part by its Taylor series, |part| <= 1/2
  p = fma(p, part, splat(.00961812911f));
  p = fma(p, part, splat(.0555041087f));
  p = fma(p, part, splat(.240226507f));
  p = fma(p, part, splat(.693147182f));
  p = fma(p, part, splat(1.f));
  return scale2(p, whole);
}

inline float exp(float x) { return first_lane(exp(splat(x))); }

// x / (1 + e^-z): with z = x it is SiLU, with z = 2u it is GELU's tanh form (see gelu_tanh).
ALWAYS_INLINE F32 sigmoid_times(F32 x, F32 z) { return x / (splat(1.f) + exp(splat(0.f) - z)); }

ALWAYS_INLINE F32 silu(F32 x) { return sigmoid_times(x, x); }

// GELU in its tanh form: x/2 (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3).
ALWAYS_INLINE F32 gelu_tanh(F32 x) {
  const F32 cube = x * x * x;
  return sigmoid_times(x, fma(cube, splat(.0713548162726f), x * splat(1.5957691216f)));
}

ALWAYS_INLINE F32 tanh(F32 x) {  // 1 - 2 / (1 + e^2x); the clamp keeps e^2x finite
  const F32 e = exp(minimum(splat(40.f), x + x));
  return splat(1.f) - splat(2.f) / (e + splat(1.f));
}

}  // namespace chatsite
