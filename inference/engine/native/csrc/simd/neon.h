// NEON with the dot products of bytes: a vector is four registers of four lanes, of which there are
// thirty-two.
#pragma once
#include <arm_neon.h>

#include "parts.h"

namespace chatsite {

#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr const char* SET = "neon-i8mm";
#else
constexpr const char* SET = "neon";
#endif
constexpr int REGISTERS = 8;
constexpr bool HAS_BF16_DOT = false;

using Quarter = float32x4_t;
using F32 = Parts<float32x4_t, 4>;
using I32 = Parts<int32x4_t, 4>;
using Mask = Parts<uint32x4_t, 4>;

constexpr int FOUR = 4;  // lanes of a register

ALWAYS_INLINE F32 splat(float x) {
  const Quarter v = vdupq_n_f32(x);
  return {{v, v, v, v}};
}
ALWAYS_INLINE F32 load(const float* p) {
  return make_parts<4>([&](int i) ALWAYS_INLINED { return vld1q_f32(p + FOUR * i); });
}
ALWAYS_INLINE void store(float* p, F32 v) { EACH(i, 4) vst1q_f32(p + FOUR * i, v.part[i]); }
ALWAYS_INLINE F32 load_partial(const float* p, int64_t count, float rest = 0) {
  if (count >= LANES) return load(p);
  float lanes[LANES];
  for (int i = 0; i < LANES; i++) lanes[i] = i < count ? p[i] : rest;
  return load(lanes);
}
ALWAYS_INLINE void store_partial(float* p, F32 v, int64_t count) {
  if (count >= LANES) return store(p, v);
  float lanes[LANES];
  store(lanes, v);
  for (int64_t i = 0; i < count; i++) p[i] = lanes[i];
}

ALWAYS_INLINE F32 load_fp16(const fp16* p) {
  return make_parts<4>([&](int i) ALWAYS_INLINED {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + FOUR * i)));
  });
}
ALWAYS_INLINE F32 load_bf16(const bf16* p) {
  return make_parts<4>([&](int i) ALWAYS_INLINED {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + FOUR * i), 16));
  });
}

// The bits of floats rounded to bf16: to nearest, ties to even; a NaN stays one.
ALWAYS_INLINE uint32x4_t rounded_bits(Quarter v) {
  const uint32x4_t bits = vreinterpretq_u32_f32(v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t up = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
  return vbslq_u32(vceqq_f32(v, v), up, vorrq_u32(bits, vdupq_n_u32(0x400000)));
}
ALWAYS_INLINE F32 round_to_bf16(F32 v) {
  return each(
      [](Quarter x) ALWAYS_INLINED {
        return vreinterpretq_f32_u32(vandq_u32(rounded_bits(x), vdupq_n_u32(0xffff0000)));
      },
      v);
}
ALWAYS_INLINE void store_bf16(bf16* p, F32 v) {
  EACH(i, 4) vst1_u16(p + FOUR * i, vshrn_n_u32(rounded_bits(v.part[i]), 16));
}
ALWAYS_INLINE void store_bf16_partial(bf16* p, F32 v, int64_t count) {
  if (count >= LANES) return store_bf16(p, v);
  bf16 all[LANES];
  store_bf16(all, v);
  for (int64_t i = 0; i < count; i++) p[i] = all[i];
}
ALWAYS_INLINE void store_fp16(fp16* p, F32 v) {
  EACH(i, 4) vst1_u16(p + FOUR * i, vreinterpret_u16_f16(vcvt_f16_f32(v.part[i])));
}

#define CHATSITE_BINARY(RESULT, NAME, VALUE)                                      \
  ALWAYS_INLINE RESULT NAME(F32 a, F32 b) {                                       \
    return each([](Quarter x, Quarter y) ALWAYS_INLINED { return VALUE; }, a, b); \
  }
CHATSITE_BINARY(F32, operator+, vaddq_f32(x, y))
CHATSITE_BINARY(F32, operator-, vsubq_f32(x, y))
CHATSITE_BINARY(F32, operator*, vmulq_f32(x, y))
CHATSITE_BINARY(F32, operator/, vdivq_f32(x, y))
CHATSITE_BINARY(F32, minimum, vbslq_f32(vcltq_f32(x, y), x, y))
CHATSITE_BINARY(F32, maximum, vbslq_f32(vcgtq_f32(x, y), x, y))
CHATSITE_BINARY(Mask, greater, vcgtq_f32(x, y))
CHATSITE_BINARY(Mask, unordered, vmvnq_u32(vandq_u32(vceqq_f32(x, x), vceqq_f32(y, y))))
CHATSITE_BINARY(Mask, not_less_equal, vmvnq_u32(vcleq_f32(x, y)))
#undef CHATSITE_BINARY

ALWAYS_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return each([](Quarter x, Quarter y, Quarter z) ALWAYS_INLINED { return vfmaq_f32(z, x, y); }, a,
              b, c);
}
ALWAYS_INLINE F32 fnma(F32 a, F32 b, F32 c) {
  return each([](Quarter x, Quarter y, Quarter z) ALWAYS_INLINED { return vfmsq_f32(z, x, y); }, a,
              b, c);
}
ALWAYS_INLINE F32 abs(F32 a) {
  return each([](Quarter x) ALWAYS_INLINED { return vabsq_f32(x); }, a);
}
ALWAYS_INLINE F32 round_even(F32 a) {
  return each([](Quarter x) ALWAYS_INLINED { return vrndnq_f32(x); }, a);
}

// a * 2^n for whole n of at least -252, in two steps: each factor is a normal float, or infinite.
ALWAYS_INLINE F32 scale2(F32 a, F32 n) {
  return each(
      [](Quarter x, Quarter power) ALWAYS_INLINED {
        const int32x4_t whole = vcvtnq_s32_f32(vminq_f32(vdupq_n_f32(256), power));
        const int32x4_t half = vshrq_n_s32(whole, 1), rest = vsubq_s32(whole, half);
        const int32x4_t bias = vdupq_n_s32(127);
        const int32x4_t once = vshlq_n_s32(vaddq_s32(half, bias), 23);
        const int32x4_t twice = vshlq_n_s32(vaddq_s32(rest, bias), 23);
        const Quarter scaled = vmulq_f32(x, vreinterpretq_f32_s32(once));
        return vmulq_f32(scaled, vreinterpretq_f32_s32(twice));
      },
      a, n);
}

ALWAYS_INLINE float reduce_add(F32 a) {
  const Quarter low = vaddq_f32(a.part[0], a.part[2]), high = vaddq_f32(a.part[1], a.part[3]);
  const Quarter four = vaddq_f32(low, high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
ALWAYS_INLINE float reduce_max(F32 a) {
  float lanes[LANES];
  store(lanes, a);
  float found = lanes[0];
  for (int i = 1; i < LANES; i++) found = found > lanes[i] ? found : lanes[i];
  return found;
}
ALWAYS_INLINE float first_lane(F32 a) { return vgetq_lane_f32(a.part[0], 0); }

ALWAYS_INLINE Mask lanes_between(int low, int high) {  // low <= lane < high
  return make_parts<4>([&](int i) ALWAYS_INLINED {
    const int32_t counting[4] = {0, 1, 2, 3};
    const int32x4_t lane = vaddq_s32(vld1q_s32(counting), vdupq_n_s32(FOUR * i));
    return vandq_u32(vcgeq_s32(lane, vdupq_n_s32(low)), vcltq_s32(lane, vdupq_n_s32(high)));
  });
}
ALWAYS_INLINE Mask all_lanes() { return lanes_between(0, LANES); }
ALWAYS_INLINE Mask no_lanes() { return lanes_between(0, 0); }
ALWAYS_INLINE Mask operator|(Mask a, Mask b) {
  return each([](uint32x4_t x, uint32x4_t y) ALWAYS_INLINED { return vorrq_u32(x, y); }, a, b);
}
ALWAYS_INLINE F32 select(Mask m, F32 yes, F32 no) {
  return each([](uint32x4_t which, Quarter x, Quarter y)
                  ALWAYS_INLINED { return vbslq_f32(which, x, y); },
              m, yes, no);
}
ALWAYS_INLINE bool any(Mask m) {
  const uint32x4_t low = vorrq_u32(m.part[0], m.part[1]), high = vorrq_u32(m.part[2], m.part[3]);
  return vmaxvq_u32(vorrq_u32(low, high)) != 0;
}

ALWAYS_INLINE I32 splat_i32(int32_t x) {
  const int32x4_t v = vdupq_n_s32(x);
  return {{v, v, v, v}};
}
ALWAYS_INLINE I32 load_i32(const void* p) {
  return make_parts<4>([&](int i) ALWAYS_INLINED {
    return vreinterpretq_s32_u8(vld1q_u8(static_cast<const uint8_t*>(p) + 16 * i));
  });
}
ALWAYS_INLINE I32 bit_or(I32 a, I32 b) {
  return each([](int32x4_t x, int32x4_t y) ALWAYS_INLINED { return vorrq_s32(x, y); }, a, b);
}
ALWAYS_INLINE F32 to_f32(I32 a) {
  return each([](int32x4_t x) ALWAYS_INLINED { return vcvtq_f32_s32(x); }, a);
}
ALWAYS_INLINE I32 repeat4(const void* p) {  // four bytes of memory in every lane
  int32_t word;
  std::memcpy(&word, p, 4);
  return splat_i32(word);
}

ALWAYS_INLINE void prefetch_far(const void* p) { asm volatile("prfm pldl2keep, [%0]" : : "r"(p)); }
ALWAYS_INLINE void prefetch(const void* p) { asm volatile("prfm pldl1keep, [%0]" : : "r"(p)); }

template <class V> ALWAYS_INLINE void opaque(Parts<V, 4>& v) {
  EACH(i, 4) asm volatile("" : "+w"(v.part[i]));
}
ALWAYS_INLINE void spin_pause() { asm volatile("yield"); }

}  // namespace chatsite

#include "neon_products.h"
