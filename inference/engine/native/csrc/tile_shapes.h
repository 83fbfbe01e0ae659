// Which tile multiplies how many rows, on vectors and on matrix registers.
#pragma once
#include <array>

#include "byte_tiles.h"
#include "matrix_tiles.h"

namespace chatsite {

using RunTile = void (*)(const TileRows&, const PanelPlace&, int64_t, TilePrefetch, float*);

struct Shape {                     // of the largest tile of a kind
  int rows = 0, halves = 0;        // of panels: 1, 2 or 4
  const RunTile* tiles = nullptr;  // of 1 to `rows` rows
};

template <template <int> class Kind, int HALVES, int MAX_ROWS> Shape shape() {
  static constexpr auto tiles = []<size_t... I>(std::index_sequence<I...>) {
    return std::array<RunTile, MAX_ROWS>{&Kind<int(I) + 1>::run...};
  }
  (std::make_index_sequence<MAX_ROWS>());
  return {MAX_ROWS, HALVES, tiles.data()};
}

template <Format FORMAT, int HALVES> struct Of {
  template <int ROWS> using Kind = Tile<FORMAT, ROWS, HALVES>;
};

template <Format FORMAT> constexpr bool IS_BYTES = row_kind(FORMAT) == RowKind::Bytes;

// With 32 registers of 16 lanes a tile is six rows by one panel (bytes, which need as many sums
// again for a group) or by two. With 8 it is six rows by half a panel, and for few rows, which wait
// for memory, one or two by a whole one.
template <Format FORMAT> Shape vector_shape(int64_t rows, bool pairs) {
  if constexpr (REGISTERS >= 32) {
    if constexpr (!IS_BYTES<FORMAT>) {
      if (pairs) return shape<Of<FORMAT, 4>::template Kind, 4, 6>();
      return shape<Of<FORMAT, 2>::template Kind, 2, 8>();
    }
    return shape<Of<FORMAT, 2>::template Kind, 2, 6>();
  } else {
    if (rows <= 2) return shape<Of<FORMAT, 2>::template Kind, 2, 2>();
    return shape<Of<FORMAT, 1>::template Kind, 1, 6>();
  }
}

inline Shape vector_shape(Format format, int64_t rows, bool pairs) {
  switch (format) {
    case Format::Bf16: return vector_shape<Format::Bf16>(rows, pairs);
    case Format::Int8: return vector_shape<Format::Int8>(rows, pairs);
    case Format::Int4: return vector_shape<Format::Int4>(rows, pairs);
    case Format::Fp32: return vector_shape<Format::Fp32>(rows, pairs);
    case Format::Fp16: return vector_shape<Format::Fp16>(rows, pairs);
  }
  return {};
}

// Whether tiles of two panels are worth their pairing: six rows of them have the fewer loads.
inline bool pairs_panels(Format format) {
  return REGISTERS >= 32 && row_kind(format) != RowKind::Bytes;
}

#if defined(__AMX_TILE__)
template <int ROWS> using Int8MatrixTile = MatrixBytesTile<Format::Int8, ROWS>;
template <int ROWS> using Int4MatrixTile = MatrixBytesTile<Format::Int4, ROWS>;

inline Shape matrix_shape(Format format) {
  switch (format) {
    case Format::Bf16: return shape<MatrixTile, 2, 2 * BLOCK>();
    case Format::Int8: return shape<Int8MatrixTile, 2, BLOCK>();
    case Format::Int4: return shape<Int4MatrixTile, 2, BLOCK>();
    default: return {};
  }
  return {};
}
#endif

}  // namespace chatsite
