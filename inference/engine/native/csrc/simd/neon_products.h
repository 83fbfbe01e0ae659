// The products of bf16 pairs and of bytes on NEON, and the nibbles and bytes that go into them.
// With i8mm unsigned bytes times signed ones are one instruction; without it weights are made
// signed first.
#pragma once

namespace chatsite {

ALWAYS_INLINE F32 odd_bf16(const void* p) {  // the second of each of sixteen pairs
  return each(
      [](int32x4_t x) ALWAYS_INLINED {
        return vreinterpretq_f32_s32(vandq_s32(x, vdupq_n_s32(int(0xffff0000))));
      },
      load_i32(p));
}
ALWAYS_INLINE F32 even_bf16(const void* p) {
  return each([](int32x4_t x) ALWAYS_INLINED { return vreinterpretq_f32_s32(vshlq_n_s32(x, 16)); },
              load_i32(p));
}

struct Bf16Pairs {
  F32 odd, even;
};
ALWAYS_INLINE Bf16Pairs bf16_pairs(const void* p) { return {odd_bf16(p), even_bf16(p)}; }
ALWAYS_INLINE Bf16Pairs repeat_bf16_pair(const bf16* p) {
  int32_t both;
  std::memcpy(&both, p, 4);
  const int32x4_t pair = vdupq_n_s32(both);
  const Quarter odd = vreinterpretq_f32_s32(vandq_s32(pair, vdupq_n_s32(int(0xffff0000))));
  const Quarter even = vreinterpretq_f32_s32(vshlq_n_s32(pair, 16));
  return {{{odd, odd, odd, odd}}, {{even, even, even, even}}};
}
ALWAYS_INLINE void dot_bf16(F32& sum, Bf16Pairs a, Bf16Pairs b) {
  sum = fma(a.even, b.even, fma(a.odd, b.odd, sum));
}

// sum[i] += w[4i] * s[4i] + ... + w[4i+3] * s[4i+3] of signed bytes.
ALWAYS_INLINE void dot_signed(I32& sum, I32 w, I32 s) {
  sum = each(
      [](int32x4_t total, int32x4_t x, int32x4_t y) ALWAYS_INLINED {
        return vdotq_s32(total, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(y));
      },
      sum, w, s);
}

// The same with w unsigned: of at most 127 where there is no i8mm.
ALWAYS_INLINE void dot_bytes(I32& sum, I32 u, I32 s) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
  sum = each(
      [](int32x4_t total, int32x4_t x, int32x4_t y) ALWAYS_INLINED {
        return vusdotq_s32(total, vreinterpretq_u8_s32(x), vreinterpretq_s8_s32(y));
      },
      sum, u, s);
#else
  dot_signed(sum, u, s);
#endif
}

using ByteWeights = I32;

#if defined(__ARM_FEATURE_MATMUL_INT8)
ALWAYS_INLINE ByteWeights byte_weights(I32 stored) { return stored; }
#else
ALWAYS_INLINE ByteWeights byte_weights(I32 stored) {
  return each([](int32x4_t x) ALWAYS_INLINED { return veorq_s32(x, vdupq_n_s32(int(0x80808080))); },
              stored);
}
#endif

struct ByteDot {
  I32 sum;
  ALWAYS_INLINE void start(int32_t excess) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    sum = splat_i32(excess);
#else
    sum = splat_i32(0);  // its weights are signed already
    (void)excess;
#endif
  }
  ALWAYS_INLINE void add(ByteWeights w, I32 a) { dot_bytes(sum, w, a); }
  ALWAYS_INLINE I32 total() const { return sum; }
};

struct NibbleDot {
  I32 sum;
  ALWAYS_INLINE void start() { sum = splat_i32(0); }
  ALWAYS_INLINE void add(I32 w, I32 a) { dot_signed(sum, w, a); }
  ALWAYS_INLINE I32 total() const { return sum; }
};

ALWAYS_INLINE I32 low_nibbles(I32 a) {
  return each([](int32x4_t x) ALWAYS_INLINED { return vandq_s32(x, vdupq_n_s32(0x0f0f0f0f)); }, a);
}
ALWAYS_INLINE I32 high_nibbles(I32 a) {
  return each(
      [](int32x4_t x)
          ALWAYS_INLINED { return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(x), 4)); },
      a);
}

ALWAYS_INLINE int store_int8_group(void* p, F32 low, F32 high) {
  int8_t* out = static_cast<int8_t*>(p);
  int sum = 0;
  EACH(i, 2) {
    const F32 v = i == 0 ? low : high;
    const auto words = [&](int part) ALWAYS_INLINED { return vcvtnq_s32_f32(v.part[part]); };
    const int16x8_t a = vcombine_s16(vqmovn_s32(words(0)), vqmovn_s32(words(1)));
    const int16x8_t b = vcombine_s16(vqmovn_s32(words(2)), vqmovn_s32(words(3)));
    const int8x16_t bytes = vcombine_s8(vqmovn_s16(a), vqmovn_s16(b));
    vst1q_s8(out + LANES * i, bytes);
    sum += vaddlvq_s8(bytes);
  }
  return sum;
}

ALWAYS_INLINE void opaque(Bf16Pairs& v) { opaque(v.odd), opaque(v.even); }

}  // namespace chatsite
