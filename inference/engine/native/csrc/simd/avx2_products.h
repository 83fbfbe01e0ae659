// The products of bf16 pairs and of bytes on AVX2, and the nibbles and bytes that go into them.
// With AVX-VNNI the products of bytes are one instruction; without it they are made of three or
// four.
#pragma once

namespace chatsite {

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

ALWAYS_INLINE void opaque(Bf16Pairs& v) { opaque(v.odd), opaque(v.even); }

}  // namespace chatsite
