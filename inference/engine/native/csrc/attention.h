// Attention over paged keys and values: writes this step's tokens into their pages, then attends.
//
// A page holds `page_tokens` tokens (a multiple of 16) of one layer, head by head, in bf16. Within
// a head, sixteen tokens at a time lie as the products read them:
//
//   keys    for each pair of dimensions d, d+1:   16 x { K[t][d], K[t][d+1] }
//   values  for each pair of tokens t, t+1:       D x  { V[t][d], V[t+1][d] }
//
// A context is read in chunks of 128 tokens and segments of 512, counted from its beginning.
// Segments are attended to independently (so that one long context keeps all threads busy) and put
// together in order. What a query computes therefore depends on its own context alone: not on its
// neighbours in the batch, not on how its prompt was cut into steps. Online softmax: Milakov and
// Gimelshein, 2018; the split over a long context: Dao et al., 2023 (Flash-Decoding).
#pragma once
#include <map>
#include <vector>

#include "formats.h"
#include "threads.h"

namespace chatsite {

// Keys and values of one layer.
struct Pages {
  bf16 *keys = nullptr, *values = nullptr;  // (pages, kv_heads, page_tokens x dim), as above
  int64_t kv_heads = 0, dim = 0, page_tokens = 0;

  int64_t page_elements() const { return kv_heads * page_tokens * dim; }
};

// A step's tokens, laid out as in StepBatch (backend.py). Owns nothing.
struct Step {
  int64_t tokens = 0;
  const int64_t *positions = nullptr, *slots = nullptr, *rows = nullptr;  // (tokens)
  const int32_t* block_table = nullptr;  // (sequences, table_width)
  int64_t table_width = 0;
};

// This step's queries, keys and values of one layer: token t's head h starts at t * stride + h *
// dim.
struct Heads {
  const float *query = nullptr, *key = nullptr, *value = nullptr;
  int64_t query_stride = 0, key_stride = 0, value_stride = 0;
  int64_t query_heads = 0;
};

// Rotation of queries and keys by position (Su et al., 2021), over the first `dim` dimensions of a
// head, halves against each other. Rows of cosines and sines are dim / 2 long, one row per token,
// or, with `by_position`, one per position.
struct Rope {
  const float *cos = nullptr, *sin = nullptr;
  int64_t dim = 0;
  bool by_position = false;

  explicit operator bool() const { return cos != nullptr; }
  int64_t row(const Step& step, int64_t token) const {
    return (by_position ? step.positions[token] : token) * (dim / 2);
  }
};

struct AttentionRule {
  float scale = 1;
  int64_t window = 0;            // 0: every earlier token is seen
  float softcap = 0;             // 0: none
  const float* sinks = nullptr;  // (query heads), or null
};

// How one step's attention is divided: made once per step, used by all its layers.
class AttentionPlan {
 public:
  AttentionPlan(const Step& step, int64_t query_heads, int64_t kv_heads);

  struct Tile {  // tokens of one sequence that attend together, with the heads of a group as rows
    int64_t first, last;
  };
  struct Unit {  // one tile and key-value head over one segment of the tile's context
    int64_t tile, segment, head, part;  // part: where its result goes; -1 if it is the only one
  };
  struct Units {
    std::vector<Unit> units;                         // those that read the same keys side by side
    std::vector<std::pair<int64_t, int64_t>> parts;  // per tile: its first part, and how many
    int64_t num_parts = 0;
    std::vector<int32_t> pages;  // those that are read
  };

  const Units& units(int64_t window, int64_t page_tokens);  // call from one thread; kept per window

  std::vector<Tile> tiles;
  int64_t group;  // query heads per key-value head

 private:
  const Step& step_;
  const int64_t kv_heads_;
  std::map<int64_t, Units> by_window_;
};

// Write, then attend. Results go to `out` (tokens, heads x dim) as activations for a product, or as
// floats to `floats` where that is not null. `units` are those of the rule's window; `scratch` is
// shared by the team.
void attend(Lane& lane, const Step& step, const AttentionPlan& plan,
            const AttentionPlan::Units& units, const Heads& heads, const Rope& rope,
            const AttentionRule& rule, const Pages& pages, std::vector<float>& scratch,
            Activations* out, float* floats);

}  // namespace chatsite
