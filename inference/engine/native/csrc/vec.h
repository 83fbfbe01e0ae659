// Sixteen lanes at a time: loads, stores, dot products and the few functions a transformer needs.
//
// Everything here is plain AVX-512 with BF16 and VNNI; matrix.h has what some CPUs add to them. No
// function's result depends on anything but its arguments: the engine promises that a row's logits
// don't depend on its neighbours, bit for bit, so every sum in these kernels has one fixed order.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace chatsite {

using bf16 = uint16_t;  // the upper half of a float's bits
using fp16 = uint16_t;  // IEEE half precision

using Floats = __m512;  // 16 x float
using Words = __m512i;  // 16 x int32, or 64 x int8, as the operation has it

constexpr int LANES = 16;

inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Words load_words(const void* p) { return _mm512_loadu_si512(p); }

inline Floats load_fp16(const fp16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

inline Floats load_bf16(const bf16* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

inline void store_bf16(bf16* p, Floats v) {  // rounds to nearest, ties to even
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
}

inline bf16 to_bf16(float x) {
  alignas(64) bf16 out[LANES];
  store_bf16(out, all(x));
  return out[0];
}

inline fp16 to_fp16(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
inline float from_fp16(fp16 x) { return _cvtsh_ss(x); }

// Four bytes of memory (two bf16, or four int8) repeated sixteen times.
inline Words repeat4(const void* p) {
  int word;
  std::memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}

// sum[i] += a[2i] * b[2i] + a[2i+1] * b[2i+1] over bf16 pairs.
inline void dot_bf16(Floats& sum, Words a, Words b) {
  sum = _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

// sum[i] += u[4i] * s[4i] + ... + u[4i+3] * s[4i+3], u unsigned and s signed bytes.
// Inline assembly because gcc 12 copies registers around its own intrinsic, which halves the speed.
inline __attribute__((always_inline)) void dot_bytes(Words& sum, Words u, Words s) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(u), "v"(s));
}

// Ask for a line of memory: into the second-level cache, or into the first. Volatile assembly
// because gcc 12 thinks that a function of nothing but _mm_prefetch does nothing, and leaves out
// its calls.
inline __attribute__((always_inline)) void prefetch_far(const void* p) {
  asm volatile("prefetcht1 %0" : : "m"(*static_cast<const char*>(p)));
}
inline __attribute__((always_inline)) void prefetch(const void* p) {
  asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(p)));
}

// e^x to about 2e-7 relative, 0 below -87 (what a softmax needs); NaN stays NaN.
inline Floats exp(Floats x) {
  const Floats t = _mm512_mul_ps(_mm512_max_ps(all(-87.f), x), all(1.44269504f));
  const Floats whole = _mm512_roundscale_ps(t, 8);
  const Floats part = _mm512_sub_ps(t, whole);
  Floats p = all(.00133335581f);  // 2^part by its Taylor series, |part| <= 1/2
  p = _mm512_fmadd_ps(p, part, all(.00961812911f));
  p = _mm512_fmadd_ps(p, part, all(.0555041087f));
  p = _mm512_fmadd_ps(p, part, all(.240226507f));
  p = _mm512_fmadd_ps(p, part, all(.693147182f));
  p = _mm512_fmadd_ps(p, part, all(1.f));
  return _mm512_scalef_ps(p, whole);
}

inline float exp(float x) { return _mm512_cvtss_f32(exp(all(x))); }

// x / (1 + e^-z): with z = x it is SiLU, with z = 2u it is GELU's tanh form (see gelu).
inline Floats sigmoid_times(Floats x, Floats z) {
  const Floats e = exp(_mm512_sub_ps(_mm512_setzero_ps(), z));
  return _mm512_div_ps(x, _mm512_add_ps(all(1.f), e));
}

inline Floats silu(Floats x) { return sigmoid_times(x, x); }

// GELU in its tanh form: x/2 (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3).
inline Floats gelu_tanh(Floats x) {
  const Floats cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
  const Floats twice_u =
      _mm512_fmadd_ps(cube, all(.0713548162726f), _mm512_mul_ps(x, all(1.5957691216f)));
  return sigmoid_times(x, twice_u);
}

inline Floats tanh(Floats x) {  // 1 - 2 / (1 + e^2x); the clamp keeps e^2x finite
  const Floats twice = _mm512_min_ps(all(40.f), _mm512_add_ps(x, x));
  const Floats e = exp(twice);
  return _mm512_sub_ps(all(1.f), _mm512_div_ps(all(2.f), _mm512_add_ps(e, all(1.f))));
}

}  // namespace chatsite
