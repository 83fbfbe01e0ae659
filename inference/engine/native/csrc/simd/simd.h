// The instruction set this library is built for, behind one interface of sixteen lanes.
//
// Everything above this folder is written once over these names; exactly one of the four files is
// included, by the flags the compiler was given. A vector has 16 lanes on every set, in one
// register (AVX-512), two (AVX2), four (NEON) or none at all (scalar). Layouts of memory, masks of
// tails and, above all, the order in which a sum is reduced are therefore the same everywhere, and
// with them the bits of a result: fma is one rounding on every set, and nothing else is ever
// contracted.
//
//   F32, I32         16 x float; 16 x int32, or 64 x int8, or 32 x bf16, as the operation has it
//   Mask             one truth per lane
//   load, store, load_partial, store_partial, load_bf16, store_bf16, load_fp16, ...
//   + - * /, fma (a b + c), fnma (c - a b), minimum, maximum (the second where one is NaN), abs,
//   round_even, scale2 (x 2^n)
//   reduce_add, reduce_max    halves against each other: 16 -> 8 -> 4 -> 2 -> 1
//   greater, unordered, not_less_equal, lanes_between, select, any, |
//   store_int8_group          32 floats as rounded, saturated bytes; gives their sum
//
// and what the products are made of:
//
//   Bf16Pairs, bf16_pairs, repeat_bf16_pair, dot_bf16
//                    sum[i] += a[2i+1] b[2i+1], then += a[2i] b[2i]: the order of vdpbf16ps
//   ByteWeights, ByteDot      weights stored as W + 128 times signed bytes, summed over a group
//   NibbleDot                 weights of 0..15 times signed bytes, summed over a group of 32
//
// SET names the set, REGISTERS tells how many F32 its registers hold, HAS_BF16_DOT whether bf16
// pairs are one instruction. matrix.h (AMX) is not a set: it stands beside AVX-512 where it is.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "convert.h"

namespace chatsite {

using bf16 = uint16_t;  // the upper half of a float's bits
using fp16 = uint16_t;  // IEEE half precision

constexpr int LANES = 16;

}  // namespace chatsite

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define ALWAYS_INLINED __attribute__((always_inline))  // of a lambda

// Unroll a loop completely: its count is known to the compiler. Without registers to name there is
// nothing to gain.
#if defined(CHATSITE_SCALAR)
#define EACH(i, count) for (int i = 0; i < (count); i++)
#else
#define EACH(i, count) _Pragma("GCC unroll 32") for (int i = 0; i < (count); i++)
#endif

#if defined(CHATSITE_SCALAR)
#include "scalar.h"
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && \
    defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#include "avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "avx2.h"
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
#include "neon.h"
#else
#include "scalar.h"
#endif
