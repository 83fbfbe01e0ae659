// What the tests of the kernels share: numbers that are the same everywhere, hashes, and failures.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace check {

inline int failures = 0, passed = 0;
inline std::map<std::string, uint64_t> hashes;  // by case

// The i-th number of a sequence, evenly spread over [-1, 1): exact in float on every CPU. The
// tests in Python make the same (test_hashes.py).
inline float number(uint32_t seed, uint32_t i) {
  uint32_t h = i * 2654435761u + seed * 40503u + 12345u;
  h ^= h >> 15;
  h *= 2246822519u;
  h ^= h >> 13;
  h *= 3266489917u;
  h ^= h >> 16;
  return float(h >> 8) * 0x1p-23f - 1.f;
}

inline std::vector<float> numbers(uint32_t seed, int64_t count, float scale = 1) {
  std::vector<float> out(count);
  for (int64_t i = 0; i < count; i++) out[i] = number(seed, uint32_t(i)) * scale;
  return out;
}

// Sum of (bits + 1) (2 i + 1) times an odd constant, modulo 2^64.
inline uint64_t hash(const float* values, int64_t count) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, values + i, 4);
    sum += (uint64_t(bits) + 1) * (2 * uint64_t(i) + 1) * 0x9E3779B97F4A7C15u;
  }
  return sum;
}

inline void keep_hash(const std::string& name, const std::vector<float>& values) {
  hashes[name] = hash(values.data(), int64_t(values.size()));
}

inline void that(bool holds, const std::string& what) {
  (holds ? passed : failures)++;
  if (!holds) std::printf("FAILED: %s\n", what.c_str());
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

inline double relative_error(const std::vector<float>& got, const std::vector<double>& expected) {
  double error = 0, size = 0;
  for (size_t i = 0; i < got.size(); i++) {
    error += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(error / size);
}

}  // namespace check
