// AVX-512 with BF16 and VNNI: a vector is a register.
#pragma once
#include <immintrin.h>

namespace chatsite {

constexpr const char* SET = "avx512";
constexpr int REGISTERS = 32;
constexpr bool HAS_BF16_DOT = true;

using F32 = __m512;  // with + - * / built in
using I32 = __m512i;
using Mask = __mmask16;

ALWAYS_INLINE Mask first_lanes(int64_t count) {
  return count >= LANES ? 0xffff : count <= 0 ? 0 : Mask((1u << count) - 1);
}

ALWAYS_INLINE F32 splat(float x) { return _mm512_set1_ps(x); }
ALWAYS_INLINE F32 load(const float* p) { return _mm512_loadu_ps(p); }
ALWAYS_INLINE void store(float* p, F32 v) { _mm512_storeu_ps(p, v); }
ALWAYS_INLINE F32 load_partial(const float* p, int64_t count, float rest = 0) {
  return _mm512_mask_loadu_ps(splat(rest), first_lanes(count), p);
}
ALWAYS_INLINE void store_partial(float* p, F32 v, int64_t count) {
  _mm512_mask_storeu_ps(p, first_lanes(count), v);
}

ALWAYS_INLINE F32 load_fp16(const fp16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
ALWAYS_INLINE F32 load_bf16(const bf16* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
ALWAYS_INLINE void store_bf16(bf16* p, F32 v) {  // rounds to nearest, ties to even
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
}
ALWAYS_INLINE void store_bf16_partial(bf16* p, F32 v, int64_t count) {
  _mm256_mask_storeu_epi16(p, first_lanes(count), (__m256i)_mm512_cvtneps_pbh(v));
}
ALWAYS_INLINE F32 round_to_bf16(F32 v) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(v)), 16));
}
ALWAYS_INLINE void store_fp16(fp16* p, F32 v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

ALWAYS_INLINE F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
ALWAYS_INLINE F32 fnma(F32 a, F32 b, F32 c) { return _mm512_fnmadd_ps(a, b, c); }
ALWAYS_INLINE F32 minimum(F32 a, F32 b) { return _mm512_min_ps(a, b); }
ALWAYS_INLINE F32 maximum(F32 a, F32 b) { return _mm512_max_ps(a, b); }
ALWAYS_INLINE F32 abs(F32 a) { return _mm512_abs_ps(a); }
ALWAYS_INLINE F32 round_even(F32 a) { return _mm512_roundscale_ps(a, 8); }
ALWAYS_INLINE F32 scale2(F32 a, F32 n) { return _mm512_scalef_ps(a, n); }
ALWAYS_INLINE float reduce_add(F32 a) { return _mm512_reduce_add_ps(a); }
ALWAYS_INLINE float reduce_max(F32 a) { return _mm512_reduce_max_ps(a); }
ALWAYS_INLINE float first_lane(F32 a) { return _mm512_cvtss_f32(a); }

ALWAYS_INLINE Mask greater(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
ALWAYS_INLINE Mask unordered(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q); }
ALWAYS_INLINE Mask not_less_equal(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ); }
ALWAYS_INLINE Mask all_lanes() { return 0xffff; }
ALWAYS_INLINE Mask no_lanes() { return 0; }
ALWAYS_INLINE Mask lanes_between(int low, int high) {  // low <= lane < high
  return first_lanes(high) & Mask(~first_lanes(low));
}
ALWAYS_INLINE F32 select(Mask m, F32 yes, F32 no) { return _mm512_mask_blend_ps(m, no, yes); }
ALWAYS_INLINE bool any(Mask m) { return m != 0; }

ALWAYS_INLINE I32 splat_i32(int32_t x) { return _mm512_set1_epi32(x); }
ALWAYS_INLINE I32 load_i32(const void* p) { return _mm512_loadu_si512(p); }
ALWAYS_INLINE I32 bit_or(I32 a, I32 b) { return _mm512_or_si512(a, b); }
ALWAYS_INLINE F32 to_f32(I32 a) { return _mm512_cvtepi32_ps(a); }

ALWAYS_INLINE I32 repeat4(const void* p) {  // four bytes of memory in every lane
  int word;
  std::memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}

using Bf16Pairs = I32;

ALWAYS_INLINE Bf16Pairs bf16_pairs(const void* p) { return load_i32(p); }
ALWAYS_INLINE Bf16Pairs repeat_bf16_pair(const bf16* p) { return repeat4(p); }
ALWAYS_INLINE F32 odd_bf16(const void* p) {  // the second of each of sixteen pairs
  return _mm512_castsi512_ps(_mm512_and_si512(load_i32(p), splat_i32(int(0xffff0000))));
}
ALWAYS_INLINE F32 even_bf16(const void* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(load_i32(p), 16));
}
ALWAYS_INLINE void dot_bf16(F32& sum, Bf16Pairs a, Bf16Pairs b) {
  sum = _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

// sum[i] += u[4i] * s[4i] + ... + u[4i+3] * s[4i+3], u unsigned and s signed bytes. Inline assembly
// because gcc 12 copies registers around its own intrinsic, which halves the speed.
ALWAYS_INLINE void dot_bytes(I32& sum, I32 u, I32 s) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(u), "v"(s));
}

using ByteWeights = I32;
ALWAYS_INLINE ByteWeights byte_weights(I32 stored) { return stored; }

struct ByteDot {
  I32 sum;
  ALWAYS_INLINE void start(int32_t excess) { sum = splat_i32(excess); }
  ALWAYS_INLINE void add(ByteWeights w, I32 a) { dot_bytes(sum, w, a); }
  ALWAYS_INLINE I32 total() const { return sum; }
};

struct NibbleDot {
  I32 sum;
  ALWAYS_INLINE void start() { sum = _mm512_setzero_si512(); }
  ALWAYS_INLINE void add(I32 w, I32 a) { dot_bytes(sum, w, a); }
  ALWAYS_INLINE I32 total() const { return sum; }
};

ALWAYS_INLINE I32 low_nibbles(I32 a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
ALWAYS_INLINE I32 high_nibbles(I32 a) {
  return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15));
}

ALWAYS_INLINE int store_int8_group(void* p, F32 low, F32 high) {
  const __m128i a = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(low));
  const __m128i b = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(high));
  const __m256i both = _mm256_set_m128i(b, a);
  _mm256_storeu_si256(static_cast<__m256i*>(p), both);
  I32 sum = _mm512_setzero_si512();
  dot_bytes(sum, _mm512_set1_epi8(1), _mm512_zextsi256_si512(both));
  return _mm512_reduce_add_epi32(sum);
}

// Ask for a line of memory: into the second-level cache, or into the first. Volatile assembly
// because gcc 12 thinks that a function of nothing but _mm_prefetch does nothing, and leaves out
// its calls.
ALWAYS_INLINE void prefetch_far(const void* p) {
  asm volatile("prefetcht1 %0" : : "m"(*static_cast<const char*>(p)));
}
ALWAYS_INLINE void prefetch(const void* p) {
  asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(p)));
}
// A value that the compiler can neither foresee nor leave out: for measuring.
template <class V> ALWAYS_INLINE void opaque(V& v) { asm volatile("" : "+v"(v)); }

ALWAYS_INLINE void spin_pause() { _mm_pause(); }

}  // namespace chatsite
