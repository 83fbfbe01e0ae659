#include "peaks.h"

#include <algorithm>
#include <chrono>

#include "team.h"
#include "vec.h"

namespace chatsite {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Sixteen independent sums hide the latency of any of the three instructions.
template <class Multiply>
double best_rate(int threads, double operations, Multiply&& multiply) {
  constexpr int64_t ROUNDS = 2000000;
  double best = 0;
  for (int repeat = 0; repeat < 5; repeat++) {
    const auto begin = std::chrono::steady_clock::now();
    run_team(threads, [&](Worker&) {
      Words sum[16], x = _mm512_setzero_si512();
      _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) sum[i] = x;
      for (int64_t round = 0; round < ROUNDS; round++) {
        asm volatile("" : "+v"(x));
        _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) multiply(sum[i], x);
      }
      _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) asm volatile("" ::"v"(sum[i]));
    });
    best = std::max(best, threads * 16. * operations * ROUNDS / seconds_since(begin));
  }
  return best;
}

}  // namespace

double peak_bf16(int threads) {
  return best_rate(threads, 64, [](Words& sum, Words x) {
    asm("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(x));
  });
}

double peak_bytes(int threads) {
  return best_rate(threads, 128, [](Words& sum, Words x) { dot_bytes(sum, x, x); });
}

double peak_fp32(int threads) {
  return best_rate(threads, 32, [](Words& sum, Words x) {
    asm("vfmadd231ps %1, %1, %0" : "+v"(sum) : "v"(x));
  });
}

double peak_read(int threads, const uint8_t* data, int64_t size) {
  constexpr int64_t PIECE = 1 << 16;
  double best = 0;
  for (int repeat = 0; repeat < 5; repeat++) {
    const auto begin = std::chrono::steady_clock::now();
    run_team(threads, [&](Worker& worker) {
      worker.for_each(size / PIECE, [&](int64_t piece) {
        Words seen[4] = {};
        for (const uint8_t* p = data + piece * PIECE; p < data + (piece + 1) * PIECE; p += 256)
          _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
            prefetch(p + 4096 + 64 * i);
            seen[i] = _mm512_or_si512(seen[i], load_words(p + 64 * i));
          }
        _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) asm volatile("" ::"v"(seen[i]));
      });
    });
    best = std::max(best, double(size) / seconds_since(begin));
  }
  return best;
}

}  // namespace chatsite
