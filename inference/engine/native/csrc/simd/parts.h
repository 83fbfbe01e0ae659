// Vectors of sixteen lanes made of several registers: what the narrower sets are built from.
#pragma once
#include <utility>

namespace chatsite {

// N registers V, lanes in order.
template <class V, int N> struct Parts { V part[N]; };

// f on each part: Parts of what it gives. Written out by an index sequence, not a loop, so that the
// compiler never sees an array where it could have registers.
template <class F, class V, int N, class... More>
ALWAYS_INLINE auto each(F f, const Parts<V, N>& a, const More&... more) {
  return [&]<int... I>(std::integer_sequence<int, I...>) ALWAYS_INLINED {
    const auto one = [&](const auto i)
                         ALWAYS_INLINED { return f(a.part[i.value], more.part[i.value]...); };
    using Result = decltype(one(std::integral_constant<int, 0>{}));
    return Parts<Result, N>{{one(std::integral_constant<int, I>{})...}};
  }
  (std::make_integer_sequence<int, N>());
}

// f(0) ... f(N - 1): Parts of what it gives.
template <int N, class F> ALWAYS_INLINE auto make_parts(F f) {
  return [&]<int... I>(std::integer_sequence<int, I...>) ALWAYS_INLINED {
    return Parts<decltype(f(0)), N>{{f(I)...}};
  }
  (std::make_integer_sequence<int, N>());
}

}  // namespace chatsite
