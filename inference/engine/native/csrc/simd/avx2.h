// AVX2 with FMA and F16C: a vector is two registers of eight lanes, of which there are sixteen.
#pragma once
#include <immintrin.h>

#include "parts.h"

namespace chatsite {

#if defined(__AVXVNNI__)
constexpr const char* SET = "avx2-vnni";
#else
constexpr const char* SET = "avx2";
#endif
constexpr int REGISTERS = 8;
constexpr bool HAS_BF16_DOT = false;

using Half = __m256;
using HalfI = __m256i;
using F32 = Parts<Half, 2>;
using I32 = Parts<HalfI, 2>;
using Mask = Parts<Half, 2>;  // all bits of a lane, or none

constexpr int EIGHT = 8;  // lanes of a register

ALWAYS_INLINE HalfI first_eight(int64_t count) {  // of a register
  const HalfI at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int bound = count > EIGHT ? EIGHT : count < 0 ? 0 : int(count);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(bound), at);
}

ALWAYS_INLINE F32 splat(float x) {
  const Half v = _mm256_set1_ps(x);
  return {{v, v}};
}
ALWAYS_INLINE F32 load(const float* p) {
  return {{_mm256_loadu_ps(p), _mm256_loadu_ps(p + EIGHT)}};
}
ALWAYS_INLINE void store(float* p, F32 v) {
  _mm256_storeu_ps(p, v.part[0]);
  _mm256_storeu_ps(p + EIGHT, v.part[1]);
}
ALWAYS_INLINE F32 load_partial(const float* p, int64_t count, float rest = 0) {
  if (count >= LANES) return load(p);
  return make_parts<2>([&](int i) ALWAYS_INLINED {
    const HalfI mask = first_eight(count - i * EIGHT);
    const Half got = _mm256_maskload_ps(p + i * EIGHT, mask);
    return _mm256_blendv_ps(_mm256_set1_ps(rest), got, _mm256_castsi256_ps(mask));
  });
}
ALWAYS_INLINE void store_partial(float* p, F32 v, int64_t count) {
  if (count >= LANES) return store(p, v);
  _mm256_maskstore_ps(p, first_eight(count), v.part[0]);
  _mm256_maskstore_ps(p + EIGHT, first_eight(count - EIGHT), v.part[1]);
}

ALWAYS_INLINE __m128i load_eight(const void* p) {  // values of two bytes
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
ALWAYS_INLINE F32 load_fp16(const fp16* p) {
  return {{_mm256_cvtph_ps(load_eight(p)), _mm256_cvtph_ps(load_eight(p + EIGHT))}};
}
ALWAYS_INLINE F32 load_bf16(const bf16* p) {
  return make_parts<2>([&](int i) ALWAYS_INLINED {
    const HalfI wide = _mm256_cvtepu16_epi32(load_eight(p + i * EIGHT));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  });
}

// The bits of floats rounded to bf16: to nearest, ties to even; a NaN stays one.
ALWAYS_INLINE HalfI rounded_bits(Half v) {
  const HalfI bits = _mm256_castps_si256(v);
  const HalfI odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const HalfI up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const HalfI quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const Half nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
  return _mm256_blendv_epi8(up, quiet, _mm256_castps_si256(nan));
}
ALWAYS_INLINE F32 round_to_bf16(F32 v) {
  return each(
      [](Half x) ALWAYS_INLINED {
        const HalfI upper = _mm256_set1_epi32(int(0xffff0000));
        return _mm256_castsi256_ps(_mm256_and_si256(rounded_bits(x), upper));
      },
      v);
}
ALWAYS_INLINE void store_bf16(bf16* p, F32 v) {
  const HalfI low = _mm256_srli_epi32(rounded_bits(v.part[0]), 16);
  const HalfI high = _mm256_srli_epi32(rounded_bits(v.part[1]), 16);
  const HalfI mixed = _mm256_packus_epi32(low, high);  // in quarters 0 2 1 3
  _mm256_storeu_si256(reinterpret_cast<HalfI*>(p), _mm256_permute4x64_epi64(mixed, 0xd8));
}
ALWAYS_INLINE void store_bf16_partial(bf16* p, F32 v, int64_t count) {
  if (count >= LANES) return store_bf16(p, v);
  alignas(32) bf16 all[LANES];
  store_bf16(all, v);
  for (int64_t i = 0; i < count; i++) p[i] = all[i];
}
ALWAYS_INLINE void store_fp16(fp16* p, F32 v) {
  for (int i = 0; i < 2; i++)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + i * EIGHT),
                     _mm256_cvtps_ph(v.part[i], _MM_FROUND_TO_NEAREST_INT));
}

#define CHATSITE_BINARY(NAME, INTRINSIC)                                        \
  ALWAYS_INLINE F32 NAME(F32 a, F32 b) {                                        \
    return each([](Half x, Half y) ALWAYS_INLINED { return INTRINSIC; }, a, b); \
  }
CHATSITE_BINARY(operator+, _mm256_add_ps(x, y))
CHATSITE_BINARY(operator-, _mm256_sub_ps(x, y))
CHATSITE_BINARY(operator*, _mm256_mul_ps(x, y))
CHATSITE_BINARY(operator/, _mm256_div_ps(x, y))
CHATSITE_BINARY(minimum, _mm256_min_ps(x, y))
CHATSITE_BINARY(maximum, _mm256_max_ps(x, y))
CHATSITE_BINARY(greater, _mm256_cmp_ps(x, y, _CMP_GT_OQ))
CHATSITE_BINARY(unordered, _mm256_cmp_ps(x, y, _CMP_UNORD_Q))
CHATSITE_BINARY(not_less_equal, _mm256_cmp_ps(x, y, _CMP_NLE_UQ))
CHATSITE_BINARY(operator|, _mm256_or_ps(x, y))
#undef CHATSITE_BINARY

ALWAYS_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return {{_mm256_fmadd_ps(a.part[0], b.part[0], c.part[0]),
           _mm256_fmadd_ps(a.part[1], b.part[1], c.part[1])}};
}
ALWAYS_INLINE F32 fnma(F32 a, F32 b, F32 c) {
  return {{_mm256_fnmadd_ps(a.part[0], b.part[0], c.part[0]),
           _mm256_fnmadd_ps(a.part[1], b.part[1], c.part[1])}};
}
ALWAYS_INLINE F32 abs(F32 a) {
  return each([](Half x) ALWAYS_INLINED { return _mm256_andnot_ps(_mm256_set1_ps(-0.f), x); }, a);
}
ALWAYS_INLINE F32 round_even(F32 a) {
  constexpr int NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return each([](Half x) ALWAYS_INLINED { return _mm256_round_ps(x, NEAREST); }, a);
}

// a * 2^n for whole n of at least -252, in two steps: each factor is a normal float, or infinite.
ALWAYS_INLINE F32 scale2(F32 a, F32 n) {
  return each(
      [](Half x, Half power) ALWAYS_INLINED {
        const HalfI whole = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(256), power));
        const HalfI half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
        const HalfI bias = _mm256_set1_epi32(127);
        const HalfI once = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
        const HalfI twice = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
        const Half scaled = _mm256_mul_ps(x, _mm256_castsi256_ps(once));
        return _mm256_mul_ps(scaled, _mm256_castsi256_ps(twice));
      },
      a, n);
}

ALWAYS_INLINE float reduce_add(F32 a) {
  const Half eight = _mm256_add_ps(a.part[0], a.part[1]);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
ALWAYS_INLINE float reduce_max(F32 a) {
  const Half eight = _mm256_max_ps(a.part[0], a.part[1]);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
ALWAYS_INLINE float first_lane(F32 a) { return _mm256_cvtss_f32(a.part[0]); }

ALWAYS_INLINE Mask all_lanes() {
  const Half all = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  return {{all, all}};
}
ALWAYS_INLINE Mask no_lanes() { return splat(0.f); }
ALWAYS_INLINE Mask lanes_between(int low, int high) {  // low <= lane < high
  return make_parts<2>([&](int i) ALWAYS_INLINED {
    const HalfI below = first_eight(high - i * EIGHT), under = first_eight(low - i * EIGHT);
    return _mm256_castsi256_ps(_mm256_andnot_si256(under, below));
  });
}
ALWAYS_INLINE F32 select(Mask m, F32 yes, F32 no) {
  return {{_mm256_blendv_ps(no.part[0], yes.part[0], m.part[0]),
           _mm256_blendv_ps(no.part[1], yes.part[1], m.part[1])}};
}
ALWAYS_INLINE bool any(Mask m) {
  return _mm256_movemask_ps(_mm256_or_ps(m.part[0], m.part[1])) != 0;
}

ALWAYS_INLINE I32 splat_i32(int32_t x) {
  const HalfI v = _mm256_set1_epi32(x);
  return {{v, v}};
}
ALWAYS_INLINE I32 load_i32(const void* p) {
  const auto* at = static_cast<const HalfI*>(p);
  return {{_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)}};
}
ALWAYS_INLINE I32 bit_or(I32 a, I32 b) {
  return each([](HalfI x, HalfI y) ALWAYS_INLINED { return _mm256_or_si256(x, y); }, a, b);
}
ALWAYS_INLINE F32 to_f32(I32 a) {
  return each([](HalfI x) ALWAYS_INLINED { return _mm256_cvtepi32_ps(x); }, a);
}
ALWAYS_INLINE I32 repeat4(const void* p) {  // four bytes of memory in every lane
  int word;
  std::memcpy(&word, p, 4);
  return splat_i32(word);
}

// As in avx512.h.
ALWAYS_INLINE void prefetch_far(const void* p) {
  asm volatile("prefetcht1 %0" : : "m"(*static_cast<const char*>(p)));
}
ALWAYS_INLINE void prefetch(const void* p) {
  asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(p)));
}
template <class V> ALWAYS_INLINE void opaque(Parts<V, 2>& v) {
  asm volatile("" : "+x"(v.part[0]), "+x"(v.part[1]));
}

ALWAYS_INLINE void spin_pause() { _mm_pause(); }

}  // namespace chatsite

#include "avx2_products.h"
