// AVX2 with FMA and F16C: a vector is two registers of eight lanes, of which there are sixteen.
// With AVX-VNNI the products of bytes are one instruction; without it they are made of three or
// four.
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

ALWAYS_INLINE F32 odd_bf16(const void* p) {  // the second of each of sixteen pairs
  return each(
      [](HalfI x) ALWAYS_INLINED {
        return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(int(0xffff0000))));
      },
      load_i32(p));
}
ALWAYS_INLINE F32 even_bf16(const void* p) {
  return each([](HalfI x) ALWAYS_INLINED { return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)); },
              load_i32(p));
}

struct Bf16Pairs {
  F32 odd, even;
};
ALWAYS_INLINE Bf16Pairs bf16_pairs(const void* p) { return {odd_bf16(p), even_bf16(p)}; }
ALWAYS_INLINE Bf16Pairs repeat_bf16_pair(const bf16* p) {
  int both;
  std::memcpy(&both, p, 4);
  const HalfI pair = _mm256_set1_epi32(both);
  const HalfI upper = _mm256_and_si256(pair, _mm256_set1_epi32(int(0xffff0000)));
  const Half odd = _mm256_castsi256_ps(upper);
  const Half even = _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
  return {{{odd, odd}}, {{even, even}}};
}
ALWAYS_INLINE void dot_bf16(F32& sum, Bf16Pairs a, Bf16Pairs b) {
  sum = fma(a.even, b.even, fma(a.odd, b.odd, sum));
}

// sum[i] += u[4i] * s[4i] + ... + u[4i+3] * s[4i+3], u unsigned and s signed bytes, as far as the
// sums of two products fit into 16 bits: always with AVX-VNNI, else for u of at most 127.
ALWAYS_INLINE void dot_bytes(HalfI& sum, HalfI u, HalfI s) {
#if defined(__AVXVNNI__)
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(u), "x"(s));
#else
  const HalfI pairs = _mm256_maddubs_epi16(u, s);
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}
ALWAYS_INLINE void dot_bytes(I32& sum, I32 u, I32 s) {
  dot_bytes(sum.part[0], u.part[0], s.part[0]);
  dot_bytes(sum.part[1], u.part[1], s.part[1]);
}

#if defined(__AVXVNNI__)
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
  ALWAYS_INLINE void start() { sum = splat_i32(0); }
  ALWAYS_INLINE void add(I32 w, I32 a) { dot_bytes(sum, w, a); }
  ALWAYS_INLINE I32 total() const { return sum; }
};
#else
// A product of two bytes of up to 255 and 127 would saturate in pairs; of 127 and 127 it doesn't.
// Hence the sizes of the weights times the activations with the weights' signs. Neither is -128.
struct ByteWeights {
  I32 value, size;
};
ALWAYS_INLINE ByteWeights byte_weights(I32 stored) {
  const I32 value = each(
      [](HalfI x) ALWAYS_INLINED { return _mm256_xor_si256(x, _mm256_set1_epi8(-128)); }, stored);
  return {value, each([](HalfI x) ALWAYS_INLINED { return _mm256_abs_epi8(x); }, value)};
}

struct ByteDot {
  I32 sum;
  ALWAYS_INLINE void start(int32_t) { sum = splat_i32(0); }
  ALWAYS_INLINE void add(ByteWeights w, I32 a) {
    dot_bytes(
        sum, w.size,
        each([](HalfI x, HalfI y) ALWAYS_INLINED { return _mm256_sign_epi8(x, y); }, a, w.value));
  }
  ALWAYS_INLINE I32 total() const { return sum; }
};

// A pair of products of 15 and 127 is at most 3,810: eight of them fit into 16 bits, and a group of
// 32 inputs has just eight. They are widened once.
struct NibbleDot {
  I32 sum;
  ALWAYS_INLINE void start() { sum = splat_i32(0); }
  ALWAYS_INLINE void add(I32 w, I32 a) {
    sum = each([](HalfI x, HalfI y, HalfI z)
                   ALWAYS_INLINED { return _mm256_add_epi16(x, _mm256_maddubs_epi16(y, z)); },
               sum, w, a);
  }
  ALWAYS_INLINE I32 total() const {
    return each([](HalfI x) ALWAYS_INLINED { return _mm256_madd_epi16(x, _mm256_set1_epi16(1)); },
                sum);
  }
};
#endif

ALWAYS_INLINE I32 low_nibbles(I32 a) {
  return each([](HalfI x) ALWAYS_INLINED { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }, a);
}
ALWAYS_INLINE I32 high_nibbles(I32 a) {
  return each(
      [](HalfI x) ALWAYS_INLINED {
        return _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(15));
      },
      a);
}

ALWAYS_INLINE int store_int8_group(void* p, F32 low, F32 high) {
  const auto packed = [](F32 v) ALWAYS_INLINED {  // in quarters 0 2 1 3
    return _mm256_packs_epi32(_mm256_cvtps_epi32(v.part[0]), _mm256_cvtps_epi32(v.part[1]));
  };
  const HalfI words = _mm256_packs_epi16(packed(low), packed(high));
  const HalfI order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const HalfI bytes = _mm256_permutevar8x32_epi32(words, order);
  _mm256_storeu_si256(static_cast<HalfI*>(p), bytes);
  const HalfI lifted = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));  // by 128 each
  const HalfI sums = _mm256_sad_epu8(lifted, _mm256_setzero_si256());
  const __m128i two =
      _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  return _mm_cvtsi128_si32(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two))) - 32 * 128;
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
ALWAYS_INLINE void opaque(Bf16Pairs& v) { opaque(v.odd), opaque(v.even); }

ALWAYS_INLINE void spin_pause() { _mm_pause(); }

}  // namespace chatsite
