// The CPU's matrix registers (AMX), where it has them: eight of up to 16 rows of 64 bytes each.
//
// One instruction multiplies two of them into a third: 16 x 16 sums over 32 inputs in bf16 or 64 in
// bytes. The layouts of formats.h and attention.h are what it takes as its right factor: a row of
// the register holds the inputs k, k+1 of 16 outputs (bf16), or k..k+3 (bytes).
//
// The operating system must be asked once for leave to use them, and their shape set before each
// use.
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdint>
#include <utility>

namespace chatsite {

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
constexpr bool HAS_MATRIX = true;
#else
constexpr bool HAS_MATRIX = false;
#endif

// What the registers of a phase hold: rows of two left factors and of their sums, up to 16 each (0:
// not used), and rows of the right factor; a left factor's are 4 * depth bytes wide.
struct MatrixShape {
  uint8_t upper = 0, lower = 0, depth = 16;

  bool operator==(const MatrixShape&) const = default;
};

namespace matrix_detail {

struct alignas(64) Palette {  // as the instruction reads it
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Inline assembly, here and below, because gcc 12's own intrinsics don't tell the compiler which
// memory they read and write: it leaves out or reorders the stores that they need.
#if defined(__AMX_TILE__)
inline void load_palette(const Palette& from) { asm volatile("ldtilecfg %0" : : "m"(from)); }
inline void store_palette(Palette& to) { asm volatile("sttilecfg %0" : "=m"(to)); }
#endif

inline thread_local MatrixShape current;
inline thread_local Palette
    before;  // what was set when this thread began: torch's kernels rely on theirs

inline bool ask_for_leave() {
#if defined(__linux__) && defined(__AMX_TILE__)
  constexpr int REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
  return false;
#endif
}

inline bool is_wanted = true;

}  // namespace matrix_detail

// Whether this process uses the registers. Products of bf16 depend on it: it never changes while a
// model is loaded.
inline bool use_matrix() {
  static const bool allowed = matrix_detail::ask_for_leave();
  return allowed && matrix_detail::is_wanted;
}

// For tests and benches: do without the registers.
inline void want_matrix(bool wanted) { matrix_detail::is_wanted = wanted; }

// Sums are registers 0 to 3, right factors 4 and 5, left factors 6 (upper) and 7 (lower).
inline void set_matrix_shape(MatrixShape shape) {
#if defined(__AMX_TILE__)
  if (shape == matrix_detail::current) return;
  if (matrix_detail::current == MatrixShape{}) matrix_detail::store_palette(matrix_detail::before);
  matrix_detail::current = shape;
  matrix_detail::Palette palette;
  const auto set = [&](int i, uint8_t rows, int bytes) {
    palette.rows[i] = rows;
    palette.row_bytes[i] = uint16_t(rows ? bytes : 0);
  };
  for (int i = 0; i < 4; i++) set(i, i < 2 ? shape.upper : shape.lower, 64);
  for (int i = 4; i < 6; i++) set(i, shape.depth, 64);
  set(6, shape.upper, 4 * shape.depth);
  set(7, shape.lower, 4 * shape.depth);
  matrix_detail::load_palette(palette);
#endif
}

// To be called when a thread has done with them for a while: gives them back as it found them.
inline void release_matrix() {
#if defined(__AMX_TILE__)
  if (matrix_detail::current == MatrixShape{}) return;
  matrix_detail::current = {};
  if (matrix_detail::before.palette)
    matrix_detail::load_palette(matrix_detail::before);
  else
    _tile_release();
#endif
}

#if defined(__AMX_TILE__)
template <int REGISTER>
inline __attribute__((always_inline)) void load_matrix(const void* from, int64_t row_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
               :
               : "r"(from), "r"(row_bytes), "i"(REGISTER)
               : "memory");
}

template <int REGISTER>
inline __attribute__((always_inline)) void store_matrix(void* to, int64_t row_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
               :
               : "r"(to), "r"(row_bytes), "i"(REGISTER)
               : "memory");
}

template <int REGISTER> inline __attribute__((always_inline)) void clear_matrix() {
  asm volatile("tilezero %%tmm%c0" : : "i"(REGISTER));
}

// Call `work.operator()<0>()` to `<COUNT - 1>()`: registers are named when a program is compiled.
template <int COUNT, class Work> inline __attribute__((always_inline)) void each_of(Work&& work) {
  [&]<int... I>(std::integer_sequence<int, I...>) { (work.template operator()<I>(), ...); }
  (std::make_integer_sequence<int, COUNT>());
}

template <int COUNT> inline __attribute__((always_inline)) void clear_matrices() {
  each_of<COUNT>([]<int I>() { clear_matrix<I>(); });
}

// SUM += LEFT * RIGHT, in bf16 with sums in float; rounds to nearest.
template <int SUM, int LEFT, int RIGHT> inline __attribute__((always_inline)) void multiply_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(SUM), "i"(LEFT), "i"(RIGHT));
}

// SUM += LEFT * RIGHT, in signed bytes with sums in whole numbers.
template <int SUM, int LEFT, int RIGHT>
inline __attribute__((always_inline)) void multiply_bytes() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(SUM), "i"(LEFT), "i"(RIGHT));
}
#endif

}  // namespace chatsite
