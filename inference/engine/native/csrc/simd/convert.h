// Single values between float and its halves, the same bits on every set.
#pragma once
#include <cstdint>
#include <cstring>

namespace chatsite {

inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

inline float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline float from_bf16(uint16_t x) { return float_of(uint32_t(x) << 16); }

inline uint16_t to_bf16(float x) {  // rounds to nearest, ties to even; a NaN stays one
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float from_fp16(uint16_t x) {
  const uint32_t sign = uint32_t(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 1023;
  if (exponent == 31) return float_of(sign | 0x7f800000 | fraction << 13);
  if (exponent == 0) {  // a fraction of 2^-24 each: exact
    const float small = float(fraction) * 0x1p-24f;
    return sign ? -small : small;
  }
  return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

inline uint16_t to_fp16(float x) {  // rounds to nearest, ties to even; beyond 65,504 infinite
  const uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return uint16_t(sign | 0x7e00);
  if (size >= 0x477ff000) return uint16_t(sign | 0x7c00);
  if (size < 0x38800000) {  // below 2^-14: adding 1/2 lets the float unit round to 2^-24
    return uint16_t(sign | (bits_of(float_of(size) + 0.5f) - 0x3f000000));
  }
  const uint32_t rounded = size + 0xfff + (size >> 13 & 1);
  return uint16_t(sign | (rounded - 0x38000000) >> 13);
}

}  // namespace chatsite
