// No vectors: the reference that the other sets are tested against, and what serves on any other
// CPU. The compiler makes of these loops what it can.
#pragma once
#include <algorithm>

namespace chatsite {

constexpr const char* SET = "scalar";
constexpr int REGISTERS = 8;
constexpr bool HAS_BF16_DOT = false;

struct F32 {
  float lane[LANES];
};
struct I32 {
  int32_t lane[LANES];
};
struct Mask {
  bool lane[LANES];
};

template <class V, class F> ALWAYS_INLINE V each_lane(F f) {
  V out;
  for (int i = 0; i < LANES; i++) out.lane[i] = f(i);
  return out;
}

ALWAYS_INLINE F32 splat(float x) {
  return each_lane<F32>([&](int) { return x; });
}
ALWAYS_INLINE F32 load_partial(const float* p, int64_t count, float rest = 0) {
  return each_lane<F32>([&](int i) { return i < count ? p[i] : rest; });
}
ALWAYS_INLINE F32 load(const float* p) { return load_partial(p, LANES); }
ALWAYS_INLINE void store_partial(float* p, F32 v, int64_t count) {
  for (int i = 0; i < std::min<int64_t>(count, LANES); i++) p[i] = v.lane[i];
}
ALWAYS_INLINE void store(float* p, F32 v) { store_partial(p, v, LANES); }

ALWAYS_INLINE F32 load_fp16(const fp16* p) {
  return each_lane<F32>([&](int i) { return from_fp16(p[i]); });
}
ALWAYS_INLINE F32 load_bf16(const bf16* p) {
  return each_lane<F32>([&](int i) { return from_bf16(p[i]); });
}
ALWAYS_INLINE F32 round_to_bf16(F32 v) {
  return each_lane<F32>([&](int i) { return from_bf16(to_bf16(v.lane[i])); });
}
ALWAYS_INLINE void store_bf16_partial(bf16* p, F32 v, int64_t count) {
  for (int i = 0; i < std::min<int64_t>(count, LANES); i++) p[i] = to_bf16(v.lane[i]);
}
ALWAYS_INLINE void store_bf16(bf16* p, F32 v) { store_bf16_partial(p, v, LANES); }
ALWAYS_INLINE void store_fp16(fp16* p, F32 v) {
  for (int i = 0; i < LANES; i++) p[i] = to_fp16(v.lane[i]);
}

#define CHATSITE_BINARY(RESULT, NAME, VALUE)    \
  ALWAYS_INLINE RESULT NAME(F32 a, F32 b) {     \
    return each_lane<RESULT>([&](int i) {       \
      const float x = a.lane[i], y = b.lane[i]; \
      return VALUE;                             \
    });                                         \
  }
CHATSITE_BINARY(F32, operator+, x + y)
CHATSITE_BINARY(F32, operator-, x - y)
CHATSITE_BINARY(F32, operator*, x* y)
CHATSITE_BINARY(F32, operator/, x / y)
CHATSITE_BINARY(F32, minimum, x < y ? x : y)
CHATSITE_BINARY(F32, maximum, x > y ? x : y)
CHATSITE_BINARY(Mask, greater, x > y)
CHATSITE_BINARY(Mask, unordered, x != x || y != y)
CHATSITE_BINARY(Mask, not_less_equal, !(x <= y))
#undef CHATSITE_BINARY

ALWAYS_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return each_lane<F32>([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
}
ALWAYS_INLINE F32 fnma(F32 a, F32 b, F32 c) {
  return each_lane<F32>([&](int i) { return std::fma(-a.lane[i], b.lane[i], c.lane[i]); });
}
ALWAYS_INLINE F32 abs(F32 a) {
  return each_lane<F32>([&](int i) { return std::fabs(a.lane[i]); });
}
ALWAYS_INLINE F32 round_even(F32 a) {
  return each_lane<F32>([&](int i) { return std::nearbyint(a.lane[i]); });
}
ALWAYS_INLINE F32 scale2(F32 a, F32 n) {
  return each_lane<F32>([&](int i) {
    const int power = n.lane[i] < 256 ? int(std::max(-300.f, n.lane[i])) : 256;
    return n.lane[i] == n.lane[i] ? std::ldexp(a.lane[i], power) : n.lane[i];
  });
}

template <class F> ALWAYS_INLINE float reduce(F32 a, F f) {
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) a.lane[i] = f(a.lane[i], a.lane[i + half]);
  return a.lane[0];
}
ALWAYS_INLINE float reduce_add(F32 a) {
  return reduce(a, [](float x, float y) { return x + y; });
}
ALWAYS_INLINE float reduce_max(F32 a) {
  return reduce(a, [](float x, float y) { return x > y ? x : y; });
}
ALWAYS_INLINE float first_lane(F32 a) { return a.lane[0]; }

ALWAYS_INLINE Mask lanes_between(int low, int high) {  // low <= lane < high
  return each_lane<Mask>([&](int i) { return low <= i && i < high; });
}
ALWAYS_INLINE Mask all_lanes() { return lanes_between(0, LANES); }
ALWAYS_INLINE Mask no_lanes() { return lanes_between(0, 0); }
ALWAYS_INLINE Mask operator|(Mask a, Mask b) {
  return each_lane<Mask>([&](int i) { return a.lane[i] || b.lane[i]; });
}
ALWAYS_INLINE F32 select(Mask m, F32 yes, F32 no) {
  return each_lane<F32>([&](int i) { return m.lane[i] ? yes.lane[i] : no.lane[i]; });
}
ALWAYS_INLINE bool any(Mask m) {
  bool found = false;
  for (int i = 0; i < LANES; i++) found |= m.lane[i];
  return found;
}

ALWAYS_INLINE I32 splat_i32(int32_t x) {
  return each_lane<I32>([&](int) { return x; });
}
ALWAYS_INLINE I32 load_i32(const void* p) {
  I32 out;
  std::memcpy(&out, p, sizeof(out));
  return out;
}
ALWAYS_INLINE I32 bit_or(I32 a, I32 b) {
  return each_lane<I32>([&](int i) { return a.lane[i] | b.lane[i]; });
}
ALWAYS_INLINE F32 to_f32(I32 a) {
  return each_lane<F32>([&](int i) { return float(a.lane[i]); });
}
ALWAYS_INLINE I32 repeat4(const void* p) {  // four bytes of memory in every lane
  int32_t word;
  std::memcpy(&word, p, 4);
  return splat_i32(word);
}

ALWAYS_INLINE F32 odd_bf16(const void* p) {  // the second of each of sixteen pairs
  const I32 pairs = load_i32(p);
  return each_lane<F32>([&](int i) { return float_of(uint32_t(pairs.lane[i]) & 0xffff0000); });
}
ALWAYS_INLINE F32 even_bf16(const void* p) {
  const I32 pairs = load_i32(p);
  return each_lane<F32>([&](int i) { return float_of(uint32_t(pairs.lane[i]) << 16); });
}

struct Bf16Pairs {
  F32 odd, even;
};
ALWAYS_INLINE Bf16Pairs bf16_pairs(const void* p) { return {odd_bf16(p), even_bf16(p)}; }
ALWAYS_INLINE Bf16Pairs repeat_bf16_pair(const bf16* p) {
  return {splat(from_bf16(p[1])), splat(from_bf16(p[0]))};
}
ALWAYS_INLINE void dot_bf16(F32& sum, Bf16Pairs a, Bf16Pairs b) {
  sum = fma(a.even, b.even, fma(a.odd, b.odd, sum));
}

ALWAYS_INLINE int byte_of(I32 a, int i, int byte) { return uint32_t(a.lane[i]) >> 8 * byte & 255; }

// sum[i] += u[4i] * s[4i] + ... + u[4i+3] * s[4i+3], u unsigned and s signed bytes.
ALWAYS_INLINE void dot_bytes(I32& sum, I32 u, I32 s) {
  for (int i = 0; i < LANES; i++)
    for (int b = 0; b < 4; b++) sum.lane[i] += byte_of(u, i, b) * int8_t(byte_of(s, i, b));
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
  ALWAYS_INLINE void start() { sum = splat_i32(0); }
  ALWAYS_INLINE void add(I32 w, I32 a) { dot_bytes(sum, w, a); }
  ALWAYS_INLINE I32 total() const { return sum; }
};

ALWAYS_INLINE I32 low_nibbles(I32 a) {
  return each_lane<I32>([&](int i) { return a.lane[i] & 0x0f0f0f0f; });
}
ALWAYS_INLINE I32 high_nibbles(I32 a) {
  return each_lane<I32>([&](int i) { return int32_t(uint32_t(a.lane[i]) >> 4 & 0x0f0f0f0f); });
}

ALWAYS_INLINE int store_int8_group(void* p, F32 low, F32 high) {
  int8_t* out = static_cast<int8_t*>(p);
  int sum = 0;
  for (int i = 0; i < 2 * LANES; i++) {
    const float x = std::nearbyint(i < LANES ? low.lane[i] : high.lane[i - LANES]);
    // What is no number becomes the least one, as the instructions have it.
    out[i] = x >= -128 ? int8_t(std::min(x, 127.f)) : int8_t(-128);
    sum += out[i];
  }
  return sum;
}

ALWAYS_INLINE void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }
ALWAYS_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
template <class V> ALWAYS_INLINE void opaque(V& v) { asm volatile("" : "+m"(v)); }

ALWAYS_INLINE void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace chatsite
