// The tiles of Int8 and Int4: sums of a group are whole numbers, exact on every set, and are scaled
// and added to the row's in one order. Their bits are therefore the same on every set.
#pragma once
#include "tiles.h"

namespace chatsite {

// Where a tile's sums lie between two groups: in registers where they have room beside those of the
// group, else in `out`.
template <int ROWS, int HALVES> struct GroupSums {
  static constexpr bool IN_REGISTERS = (2 * ROWS + 2) * HALVES <= REGISTERS;

  GroupSums(float* out, const PanelPlace& place) : out_(out), place_(place) {
    F32 zero[ROWS][HALVES];
    EACH(r, ROWS)
    EACH(h, HALVES) {
      zero[r][h] = splat(0.f);
      if constexpr (IN_REGISTERS) sum_[r][h] = splat(0.f);
    }
    if constexpr (!IN_REGISTERS) store_tile<ROWS, HALVES>(out_, place_, zero);
  }

  // sum += part * scale
  ALWAYS_INLINE void add(int r, int h, F32 part, F32 scale) {
    if constexpr (IN_REGISTERS) {
      sum_[r][h] = fma(part, scale, sum_[r][h]);
    } else {
      float* at = out_ + r * TILE_ROW<HALVES> + (HALVES == 1 ? place_.half : h) * LANES;
      store(at, fma(part, scale, load(at)));
    }
  }

  ALWAYS_INLINE void finish() {
    if constexpr (IN_REGISTERS) store_tile<ROWS, HALVES>(out_, place_, sum_);
  }

 private:
  float* out_;
  const PanelPlace& place_;
  F32 sum_[IN_REGISTERS ? ROWS : 1][HALVES];
};

template <int ROWS, int HALVES> struct Tile<Format::Int8, ROWS, HALVES> {
  static void run(const TileRows& x, const PanelPlace& place, int64_t, TilePrefetch ahead,
                  float* out) {
    constexpr int QUAD_BYTES = 4 * PANEL;
    const uint8_t* panel = place.first;
    GroupSums<ROWS, HALVES> sums(out, place);
    for (int64_t g = 0; g < x.groups; g++, panel += INT8_GROUP_BYTES) {
      ByteDot dot[ROWS][HALVES];
      EACH(r, ROWS) {  // weights are stored 128 too high
        const int32_t excess = x.excess[r * x.groups + g];
        EACH(h, HALVES) dot[r][h].start(excess);
      }
      EACH(quad, GROUP / 4) {
        ByteWeights w[HALVES];
        EACH(h, HALVES) {
          const uint8_t* at = panel + place.offset<HALVES>(h, QUAD_BYTES / 2);
          w[h] = byte_weights(load_i32(at + quad * QUAD_BYTES));
        }
        ahead.prefetch<HALVES, INT8_GROUP_BYTES / 8>(8 * g + quad);
        EACH(r, ROWS) {
          const I32 a = repeat4(x.data + r * x.row_bytes + g * GROUP + quad * 4);
          EACH(h, HALVES) dot[r][h].add(w[h], a);
        }
      }
      EACH(h, HALVES) {
        const uint8_t* scales = panel + GROUP * PANEL;
        const auto* at = scales + place.offset<HALVES>(h, PANEL);
        const F32 scale = load_fp16(reinterpret_cast<const fp16*>(at));
        EACH(r, ROWS) {
          const F32 scaled = to_f32(dot[r][h].total()) * scale;
          sums.add(r, h, scaled, splat(x.scales[r * x.groups + g]));
        }
      }
    }
    sums.finish();
  }
};

template <int ROWS, int HALVES> struct Tile<Format::Int4, ROWS, HALVES> {
  static void run(const TileRows& x, const PanelPlace& place, int64_t, TilePrefetch ahead,
                  float* out) {
    constexpr int EIGHT_BYTES = 4 * PANEL;
    const uint8_t* panel = place.first;
    GroupSums<ROWS, HALVES> sums(out, place);
    for (int64_t g = 0; g < x.groups; g++, panel += INT4_GROUP_BYTES) {
      NibbleDot dot[ROWS][HALVES];
      EACH(r, ROWS)
      EACH(h, HALVES) dot[r][h].start();
      EACH(eight, GROUP / 8) {
        ahead.prefetch<HALVES, INT4_GROUP_BYTES / 4>(4 * g + eight);
        EACH(high, 2) {  // nibbles: one kind after the other, so that few registers hold weights
          I32 w[HALVES];
          EACH(h, HALVES) {
            const uint8_t* at = panel + place.offset<HALVES>(h, EIGHT_BYTES / 2);
            const I32 both = load_i32(at + eight * EIGHT_BYTES);
            w[h] = high ? high_nibbles(both) : low_nibbles(both);
          }
          EACH(r, ROWS) {
            const I32 a = repeat4(x.data + r * x.row_bytes + g * GROUP + eight * 8 + high * 4);
            EACH(h, HALVES) dot[r][h].add(w[h], a);
          }
        }
      }
      EACH(h, HALVES) {
        const uint8_t* at = panel + GROUP * PANEL / 2 + place.offset<HALVES>(h, PANEL);
        const fp16* scales = reinterpret_cast<const fp16*>(at);
        const F32 scale = load_fp16(scales), minimum = load_fp16(scales + PANEL);
        EACH(r, ROWS) {  // (sum of scale * nibble + minimum) * activation, its own scale last
          const F32 total = splat(x.totals[r * x.groups + g]);
          const F32 whole = fma(to_f32(dot[r][h].total()), scale, total * minimum);
          sums.add(r, h, whole, splat(x.scales[r * x.groups + g]));
        }
      }
    }
    sums.finish();
  }
};

}  // namespace chatsite
