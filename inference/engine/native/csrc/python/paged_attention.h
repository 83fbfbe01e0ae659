// Attention over pages, and the check that a step stays within them.
#pragma once
#include "../attention.h"
#include "tensors.h"

namespace chatsite::python {

inline Step make_step(const Tensor& positions, const Tensor& slots, const Tensor& rows,
                      const Tensor& block_table) {
  TORCH_CHECK(block_table.scalar_type() == at::kInt && block_table.is_contiguous() &&
                  block_table.dim() == 2,
              "block_table must be contiguous int32 (sequences, blocks)");
  const int64_t tokens = positions.numel();
  TORCH_CHECK(tokens > 0, "a step needs tokens");
  TORCH_CHECK(slots.numel() == tokens && rows.numel() == tokens,
              "positions, slots and rows must be of one length");
  return {tokens,
          longs(positions, "positions"),
          longs(slots, "slots"),
          longs(rows, "rows"),
          block_table.const_data_ptr<int32_t>(),
          block_table.size(1)};
}

inline Pages make_pages(const Tensor& keys, const Tensor& values, int64_t page_tokens) {
  TORCH_CHECK(keys.dim() == 3 && keys.sizes() == values.sizes(),
              "pages must be (pages, heads, page_tokens * dim)");
  TORCH_CHECK(page_tokens > 0 && page_tokens % 16 == 0, "page_tokens must be a multiple of 16");
  const int64_t dim = keys.size(2) / page_tokens;
  TORCH_CHECK(dim > 0 && dim % 16 == 0 && dim <= 512 && keys.size(2) == dim * page_tokens,
              "heads must be a multiple of 16 wide, at most 512");
  return {halves(keys, "keys"), halves(values, "values"), keys.size(1), dim, page_tokens};
}

// Refuse a step whose indices lead outside the pages: kernels write and read where they say. Every
// page that a token's context reaches is looked at, which is nothing beside reading it.
inline void check_step(const Step& step, const Tensor& block_table, int64_t num_pages,
                       int64_t page_tokens) {
  const int64_t sequences = block_table.size(0), reach = step.table_width * page_tokens;
  std::vector<int64_t> checked(sequences, 0);  // pages of each sequence
  for (int64_t t = 0; t < step.tokens; t++) {
    const int64_t row = step.rows[t], position = step.positions[t], slot = step.slots[t];
    TORCH_CHECK_INDEX(row >= 0 && row < sequences, "rows names sequence ", row, " of ", sequences);
    TORCH_CHECK_INDEX(position >= 0 && position < reach, "position ", position,
                      " is outside the block table, which reaches ", reach);
    TORCH_CHECK_INDEX(slot >= 0 && slot < num_pages * page_tokens, "slot ", slot,
                      " is outside the ", num_pages, " pages");
    for (int64_t& i = checked[row]; i <= position / page_tokens; i++) {
      const int32_t page = step.block_table[row * step.table_width + i];
      TORCH_CHECK_INDEX(page >= 0 && page < num_pages, "block_table names page ", page, " of ",
                        num_pages);
    }
  }
}

inline Tensor attend_(const Tensor& query, const Tensor& key, const Tensor& value,
                      const Tensor& keys, const Tensor& values, int64_t page_tokens,
                      const Tensor& positions, const Tensor& slots, const Tensor& rows,
                      const Tensor& block_table, double scale, int64_t window, double softcap,
                      const Maybe& sinks) {
  const Step step = make_step(positions, slots, rows, block_table);
  const Pages pages = make_pages(keys, values, page_tokens);
  check_step(step, block_table, keys.size(0), page_tokens);
  TORCH_CHECK(!sinks || sinks->numel() == query.size(1), "sinks must have one value per head");
  TORCH_CHECK(window >= 0, "window must not be negative");
  const auto check = [&](const Tensor& t, const char* name) {
    TORCH_CHECK(t.dim() == 3 && t.size(0) == step.tokens && t.size(2) == pages.dim &&
                    t.stride(2) == 1 && t.stride(1) == pages.dim && t.scalar_type() == at::kFloat,
                name, " must be float32 (tokens, heads, dim) with heads side by side");
    return t.const_data_ptr<float>();
  };
  Heads heads;
  heads.query = check(query, "query");
  heads.key = check(key, "key");
  heads.value = check(value, "value");
  heads.query_stride = query.stride(0);
  heads.key_stride = key.stride(0);
  heads.value_stride = value.stride(0);
  heads.query_heads = query.size(1);
  TORCH_CHECK(key.size(1) == pages.kv_heads && value.size(1) == pages.kv_heads &&
                  heads.query_heads % pages.kv_heads == 0,
              "query heads must be a multiple of the pages' heads");
  const AttentionRule rule{float(scale), window, float(softcap), floats(sinks, "sinks")};
  Tensor out = at::empty({step.tokens, heads.query_heads, pages.dim}, query.options());
  py::gil_scoped_release release;
  AttentionPlan plan(step, heads.query_heads, pages.kv_heads);
  const auto& units = plan.units(window, page_tokens);
  static thread_local std::vector<float> kept;
  std::vector<float>& scratch = kept;
  run_team(at::get_num_threads(), [&](Lane& lane) {
    attend(lane, step, plan, units, heads, Rope{}, rule, pages, scratch, nullptr,
           out.data_ptr<float>());
  });
  return out;
}

}  // namespace chatsite::python
