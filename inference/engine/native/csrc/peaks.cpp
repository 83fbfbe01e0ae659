#include "peaks.h"

#include <algorithm>
#include <chrono>

#include "matrix.h"
#include "simd/math.h"
#include "threads.h"

namespace chatsite {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Times `rounds(count)` on every thread, in operations per second.
template <class Rounds> double best_of_five(int threads, double operations, Rounds&& rounds) {
  constexpr int64_t COUNT = 2000000;
  double best = 0;
  for (int repeat = 0; repeat < 5; repeat++) {
    const auto begin = std::chrono::steady_clock::now();
    run_team(threads, [&](Lane&) { rounds(COUNT); });
    best = std::max(best, threads * operations * COUNT / seconds_since(begin));
  }
  return best;
}

// As many independent sums as registers hold beside a factor: enough to hide any latency.
constexpr int SUMS = REGISTERS >= 32 ? 16 : 6;

template <class Sum, class Factor, class Multiply>
double best_rate(int threads, double operations, Sum zero, Factor x, Multiply&& multiply) {
  return best_of_five(threads, SUMS * operations, [&](int64_t count) {
    Sum sum[SUMS];
    Factor factor = x;
    EACH(i, SUMS) {
      sum[i] = zero;
      opaque(sum[i]);  // or the compiler would see that they are all the same
    }
    for (int64_t round = 0; round < count; round++) {
      opaque(factor);
      EACH(i, SUMS) multiply(sum[i], factor);
    }
    EACH(i, SUMS) opaque(sum[i]);
  });
}

// Four independent sums are all that there is room for.
template <class Multiply>
double best_matrix_rate(int threads, double operations, Multiply&& multiply) {
  if (!use_matrix()) return 0;
  return best_of_five(threads, 4 * operations, [&](int64_t count) {
    set_matrix_shape({16, 16, 16});  // which clears them
    for (int64_t round = 0; round < count; round++) multiply();
    release_matrix();
  });
}

}  // namespace

double peak_bf16(int threads) {
  if constexpr (!HAS_BF16_DOT) return peak_fp32(threads);
  const bf16 zeros[2 * LANES] = {};
  return best_rate(threads, 64, splat(0.f), bf16_pairs(zeros),
                   [](F32& sum, Bf16Pairs x) ALWAYS_INLINED { dot_bf16(sum, x, x); });
}

double peak_matrix_bf16(int threads) {
  return best_matrix_rate(threads, 2. * 16 * 16 * 32, [] {
#if defined(__AMX_TILE__)
    multiply_bf16<0, 6, 4>(), multiply_bf16<1, 6, 5>(), multiply_bf16<2, 7, 4>(),
        multiply_bf16<3, 7, 5>();
#endif
  });
}

double peak_matrix_bytes(int threads) {
  return best_matrix_rate(threads, 2. * 16 * 16 * 64, [] {
#if defined(__AMX_TILE__)
    multiply_bytes<0, 6, 4>(), multiply_bytes<1, 6, 5>(), multiply_bytes<2, 7, 4>(),
        multiply_bytes<3, 7, 5>();
#endif
  });
}

double peak_bytes(int threads) {
  return best_rate(threads, 128, splat_i32(0), splat_i32(0),
                   [](I32& sum, I32 x) ALWAYS_INLINED { dot_bytes(sum, x, x); });
}

double peak_fp32(int threads) {
  return best_rate(threads, 32, splat(0.f), splat(0.f),
                   [](F32& sum, F32 x) ALWAYS_INLINED { sum = fma(x, x, sum); });
}

double peak_read(int threads, const uint8_t* data, int64_t size) {
  constexpr int64_t PIECE = 1 << 16;
  double best = 0;
  for (int repeat = 0; repeat < 5; repeat++) {
    const auto begin = std::chrono::steady_clock::now();
    run_team(threads, [&](Lane& lane) {
      lane.for_each(size / PIECE, [&](int64_t piece) {
        I32 seen[4];
        EACH(i, 4) seen[i] = splat_i32(0);
        for (const uint8_t* p = data + piece * PIECE; p < data + (piece + 1) * PIECE; p += 256)
          EACH(i, 4) {
            prefetch(p + 4096 + 64 * i);
            seen[i] = bit_or(seen[i], load_i32(p + 64 * i));
          }
        EACH(i, 4) opaque(seen[i]);
      });
    });
    best = std::max(best, double(size) / seconds_since(begin));
  }
  return best;
}

}  // namespace chatsite
