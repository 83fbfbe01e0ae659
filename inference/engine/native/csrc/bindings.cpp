// The Python side of the kernels: checks shapes, holds on to tensors, lets go of the interpreter.
//
// All tensors that go in and out of products are float32; what becomes bf16 or bytes is decided by
// the packed weights. Every call releases the GIL while it computes.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/mman.h>
#include <torch/csrc/utils/pybind.h>

#include <optional>
#include <stdexcept>

#include "decoder.h"
#include "matrix.h"
#include "pack.h"
#include "peaks.h"
#include "sampling.h"

namespace py = pybind11;
using namespace chatsite;
using at::Tensor;

namespace {

using Maybe = std::optional<Tensor>;

const float* floats(const Tensor& t, const char* name) {
  TORCH_CHECK(t.scalar_type() == at::kFloat && t.is_contiguous(), name,
              " must be contiguous float32");
  return t.const_data_ptr<float>();
}

const float* floats(const Maybe& t, const char* name) { return t ? floats(*t, name) : nullptr; }

const int64_t* longs(const Tensor& t, const char* name) {
  TORCH_CHECK(t.scalar_type() == at::kLong && t.is_contiguous(), name, " must be contiguous int64");
  return t.const_data_ptr<int64_t>();
}

bf16* halves(const Tensor& t, const char* name) {
  TORCH_CHECK(t.scalar_type() == at::kBFloat16 && t.is_contiguous(), name,
              " must be contiguous bfloat16");
  return reinterpret_cast<bf16*>(t.data_ptr());
}

// Zeroed memory in large pages, handed out piece by piece. Weights are read in long streams, and
// with small pages a third of the time goes into address translation. A piece keeps the chunk it is
// from alive.
class Arena {
 public:
  Tensor bytes(int64_t size) {
    size = (size + 63) / 64 * 64;
    if (!chunk_.defined() || used_ + size > chunk_.numel()) {
      chunk_ = large(std::max(size, CHUNK));
      used_ = 0;
    }
    used_ += size;
    return chunk_.narrow(0, used_ - size, size);
  }

 private:
  static constexpr int64_t LARGE = 2 << 20, CHUNK = 32 << 20;

  static Tensor large(int64_t size) {
    size = (size + LARGE - 1) / LARGE * LARGE;
    const int64_t mapped = size + LARGE;  // to begin where a large page may
    void* memory =
        mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORCH_CHECK(memory != MAP_FAILED, "no memory for ", size, " bytes");
    void* begin =
        reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory) + LARGE - 1) / LARGE * LARGE);
    madvise(begin, size, MADV_HUGEPAGE);
    return at::from_blob(
        begin, {size}, [memory, mapped](void*) { munmap(memory, mapped); }, at::kByte);
  }

  Tensor chunk_;
  int64_t used_ = 0;
};

// One packed matrix with its bias.
class Packed {
 public:
  Packed(const Tensor& weight, int format, const Maybe& bias, std::shared_ptr<Arena> arena) {
    TORCH_CHECK(weight.dim() == 2 && weight.size(1) % GROUP == 0,
                "a weight to pack must be (outputs, inputs) with inputs a multiple of 32");
    TORCH_CHECK(format >= 0 && format <= 4,
                "format must be 0 (bf16), 1 (int8), 2 (int4), 3 (fp32) or 4 (fp16)");
    weights_.format = Format(format);
    weights_.outputs = weight.size(0);
    weights_.inputs = weight.size(1);
    const float* from = floats(weight, "weight");
    const int64_t bytes = panels(weights_.outputs) * panel_bytes(weights_.format, weights_.inputs);
    data_ = (arena ? *arena : Arena()).bytes(bytes);
    size_ = bytes;
    weights_.data = data_.const_data_ptr<uint8_t>();
    if (bias) {
      TORCH_CHECK(bias->numel() == weights_.outputs, "bias must have one value per output");
      bias_ = at::zeros({panels(weights_.outputs) * PANEL});
      bias_.narrow(0, 0, weights_.outputs).copy_(*bias);
      weights_.bias = bias_.const_data_ptr<float>();
    }
    py::gil_scoped_release release;
    run_team(at::get_num_threads(), [&](Lane& lane) {
      pack(lane, weights_.format, from, weights_.outputs, weights_.inputs,
           data_.data_ptr<uint8_t>());
    });
  }

  Tensor unpacked() const {
    Tensor out = at::empty({weights_.outputs, weights_.inputs});
    py::gil_scoped_release release;
    run_team(at::get_num_threads(),
             [&](Lane& lane) { unpack(lane, weights_, out.data_ptr<float>()); });
    return out;
  }

  const Weights& weights() const { return weights_; }
  int64_t bytes() const { return size_; }

 private:
  Weights weights_;
  int64_t size_;
  Tensor data_, bias_;
};

Tensor linear_(const Tensor& x, const Packed& packed) {
  const Weights& w = packed.weights();
  TORCH_CHECK(x.size(-1) == w.inputs, "x must have ", w.inputs, " columns, not ", x.size(-1));
  const int64_t rows = x.numel() / w.inputs;
  auto shape = x.sizes().vec();
  shape.back() = w.outputs;
  const Tensor from = x.contiguous();
  Tensor out = at::empty(shape, x.options());
  const float* p = floats(from, "x");
  py::gil_scoped_release release;
  static thread_local Activations kept;
  Activations& activations = kept;
  activations.resize(row_kind(w.format), rows, w.inputs);
  run_team(at::get_num_threads(), [&](Lane& lane) {
    convert(lane, p, rows, w.inputs, activations);
    linear(lane, activations, rows, w, out.data_ptr<float>());
  });
  return out;
}

// down(gate(x G^T) * (x U^T)): an MLP in one call.
Tensor gated_mlp(const Tensor& x, const Packed& gate_up, const Packed& down, int gate) {
  TORCH_CHECK(gate == 0 || gate == 1, "gate must be 0 (SiLU) or 1 (GELU)");
  Weights first = gate_up.weights();
  const Weights& second = down.weights();
  first.gated = true;
  first.next = &second;
  TORCH_CHECK(x.size(-1) == first.inputs, "x must have ", first.inputs, " columns, not ",
              x.size(-1));
  TORCH_CHECK(first.outputs == 2 * second.inputs,
              "gate_up must have twice as many outputs as down has inputs");
  const int64_t rows = x.numel() / first.inputs;
  auto shape = x.sizes().vec();
  shape.back() = second.outputs;
  const Tensor from = x.contiguous();
  Tensor out = at::empty(shape, x.options());
  const float* p = floats(from, "x");
  py::gil_scoped_release release;
  static thread_local Activations kept_in, kept_between;
  Activations &in = kept_in, &between = kept_between;
  in.resize(row_kind(first.format), rows, first.inputs);
  between.resize(row_kind(second.format), rows, second.inputs);
  run_team(at::get_num_threads(), [&](Lane& lane) {
    convert(lane, p, rows, first.inputs, in);
    gated_linear(lane, in, rows, first, Gate(gate), between);
    linear(lane, between, rows, second, out.data_ptr<float>());
  });
  return out;
}

Tensor rms_norm_(const Tensor& x, const Tensor& weight, double epsilon) {
  const Tensor from = x.contiguous();
  const int64_t width = weight.numel();
  TORCH_CHECK(width % 32 == 0 && x.size(-1) == width,
              "weight must be as wide as x, a multiple of 32");
  Tensor out = at::empty_like(from);
  const float *p = floats(from, "x"), *w = floats(weight, "weight");
  const int64_t rows = x.numel() / width;
  py::gil_scoped_release release;
  run_team(rows < 32 ? 1 : at::get_num_threads(), [&](Lane& lane) {
    rms_norm(lane, p, rows, width, w, float(epsilon), out.data_ptr<float>(), false, 1.f);
  });
  return out;
}

Step make_step(const Tensor& positions, const Tensor& slots, const Tensor& rows,
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

Pages make_pages(const Tensor& keys, const Tensor& values, int64_t page_tokens) {
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
void check_step(const Step& step, const Tensor& block_table, int64_t num_pages,
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

Tensor attend_(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& keys,
               const Tensor& values, int64_t page_tokens, const Tensor& positions,
               const Tensor& slots, const Tensor& rows, const Tensor& block_table, double scale,
               int64_t window, double softcap, const Maybe& sinks) {
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

using RuleTuple = std::tuple<double, int64_t, double, double, double>;

int team_for(int64_t rows) { return rows == 1 ? 1 : at::get_num_threads(); }

using Details = std::array<double, 8>;

// A token for each row, its log-probability, and if asked for what the samplers left of the row, as
// in sampling.h.
std::tuple<std::vector<int64_t>, std::vector<float>, std::vector<Details>> draw_(
    const Tensor& logits, const std::vector<RuleTuple>& rules, bool detailed) {
  TORCH_CHECK(logits.dim() == 2 && int64_t(rules.size()) == logits.size(0),
              "one rule per row is needed");
  const int64_t rows = logits.size(0), width = logits.size(1);
  const float* from = floats(logits, "logits");
  std::vector<Rule> given;
  for (const auto& [temperature, top_k, top_p, min_p, uniform] : rules)
    given.push_back({float(temperature), top_k, top_p, min_p, uniform});
  std::vector<Drawn> drawn(rows);
  {
    py::gil_scoped_release release;
    run_team(team_for(rows), [&](Lane& lane) {
      draw(lane, from, rows, width, given.data(), detailed, drawn.data());
    });
  }
  std::vector<int64_t> tokens;
  std::vector<float> logp;
  std::vector<Details> details;
  for (const Drawn& each : drawn) {
    tokens.push_back(each.token);
    logp.push_back(each.logp);
    if (detailed)
      details.push_back({double(each.kept), each.below, each.kept_mass, each.mass_k, each.floor,
                         each.best_mass, each.best, each.log_total});
  }
  return {tokens, logp, details};
}

// (largest logit, its log-probability and the entropy of each row; how far the `count` likeliest
// lie below; their ids), as in sampling.h.
std::tuple<Tensor, Tensor, Tensor> describe_(const Tensor& logits, int64_t count) {
  TORCH_CHECK(logits.dim() == 2, "rows of logits are needed");
  const int64_t rows = logits.size(0), width = logits.size(1);
  TORCH_CHECK(count >= 1 && count <= width, "count must be from 1 to ", width);
  const float* from = floats(logits, "logits");
  static_assert(sizeof(Described) == 3 * sizeof(float));
  Tensor described = at::empty({rows, 3}), below_best = at::empty({rows, count}),
         indices = at::empty({rows, count}, at::kInt);
  py::gil_scoped_release release;
  // A row takes ten microseconds. On a busy machine it takes milliseconds until another thread of a
  // team runs, so few rows are one thread's work.
  run_team(rows <= 16 ? 1 : team_for(rows), [&](Lane& lane) {
    describe(lane, from, rows, width, count,
             reinterpret_cast<Described*>(described.data_ptr<float>()),
             below_best.data_ptr<float>(), indices.data_ptr<int32_t>());
  });
  return {described, below_best, indices};
}

// (log-probabilities of `tokens`, of the `count` likeliest, and the ids of those), as in
// sampling.h.
std::tuple<Tensor, Tensor, Tensor> logprobs_(const Tensor& logits,
                                             const std::vector<int64_t>& tokens, int64_t count) {
  TORCH_CHECK(logits.dim() == 2 && int64_t(tokens.size()) == logits.size(0),
              "one token per row is needed");
  const int64_t rows = logits.size(0), width = logits.size(1);
  TORCH_CHECK(count >= 0 && count <= width, "count must be from 0 to ", width);
  for (const int64_t token : tokens)
    TORCH_CHECK(token >= 0 && token < width, "token ids must be below ", width);
  const float* from = floats(logits, "logits");
  Tensor chosen = at::empty({rows}), best = at::empty({rows, count}),
         indices = at::empty({rows, count}, at::kLong);
  py::gil_scoped_release release;
  run_team(team_for(rows), [&](Lane& lane) {
    logprobs(lane, from, rows, width, tokens.data(), count, chosen.data_ptr<float>(),
             best.data_ptr<float>(), indices.data_ptr<int64_t>());
  });
  return {chosen, best, indices};
}

// A model's fused layers, and what comes before and behind them where that is known too.
class Decoder {
 public:
  explicit Decoder(int64_t width) : width_(width) {}

  void add_layer(std::shared_ptr<Packed> qkv, std::shared_ptr<Packed> out,
                 std::shared_ptr<Packed> gate_up, std::shared_ptr<Packed> down,
                 const std::map<std::string, std::pair<Tensor, double>>& norms, int64_t query_heads,
                 int64_t kv_heads, int64_t dim, int gate, double residual_scale, double scale,
                 int64_t window, double softcap, const Maybe& sinks) {
    Layer layer;
    layer.qkv = keep(qkv);
    layer.out = keep(out);
    layer.gate_up = keep(gate_up);
    layer.gate_up.gated = true;
    layer.down = keep(down);
    TORCH_CHECK(layer.qkv.outputs == (query_heads + 2 * kv_heads) * dim,
                "qkv doesn't fit its heads");
    TORCH_CHECK(layer.qkv.inputs == width_ && layer.out.outputs == width_ &&
                    layer.gate_up.inputs == width_ && layer.down.outputs == width_ &&
                    layer.out.inputs == query_heads * dim,
                "products don't fit the model's width");
    TORCH_CHECK(layer.down.inputs % GROUP == 0 && layer.gate_up.outputs == 2 * layer.down.inputs &&
                    dim % GROUP == 0,
                "gate_up must be twice as wide as down, and heads and MLP multiples of 32");
    const auto norm = [&](const char* name, int64_t size) -> Norm {
      const auto found = norms.find(name);
      if (found == norms.end()) return {};
      TORCH_CHECK(found->second.first.numel() == size, name, " must be ", size, " wide");
      tensors_.push_back(found->second.first);
      return {floats(found->second.first, name), float(found->second.second)};
    };
    layer.before_attention = norm("before_attention", width_);
    layer.before_mlp = norm("before_mlp", width_);
    TORCH_CHECK(layer.before_attention && layer.before_mlp,
                "a layer needs its norms before attention and MLP");
    layer.after_attention = norm("after_attention", width_);
    layer.after_mlp = norm("after_mlp", width_);
    layer.query = norm("query", dim);
    layer.key = norm("key", dim);
    layer.gate = Gate(gate);
    layer.residual_scale = float(residual_scale);
    layer.query_heads = query_heads;
    layer.pages.kv_heads = kv_heads;
    layer.pages.dim = dim;
    TORCH_CHECK(kv_heads > 0 && query_heads % kv_heads == 0, "heads don't share keys evenly");
    TORCH_CHECK(!sinks || sinks->numel() == query_heads, "sinks must have one value per head");
    TORCH_CHECK(window >= 0, "window must not be negative");
    TORCH_CHECK(gate == 0 || gate == 1, "gate must be 0 (SiLU) or 1 (GELU)");
    if (sinks) tensors_.push_back(*sinks);
    layer.rule = {float(scale), window, float(softcap), floats(sinks, "sinks")};
    if (!layers_.empty())
      TORCH_CHECK(
          layer.query_heads == layers_[0].query_heads && kv_heads == layers_[0].pages.kv_heads,
          "all fused layers must have the same heads");
    layers_.push_back(layer);
    chain(layers_, head_);
  }

  void set_pages(int64_t index, const Tensor& keys, const Tensor& values, int64_t page_tokens) {
    const Pages pages = make_pages(keys, values, page_tokens);
    Layer& layer = layers_.at(index);
    TORCH_CHECK(pages.dim == layer.pages.dim && pages.kv_heads == layer.pages.kv_heads,
                "pages don't fit the layer");
    layer.pages = pages;
    pages_[index] = {keys, values};
  }

  void set_ends(const Tensor& embedding, double scale, const Tensor& norm, double epsilon,
                std::shared_ptr<Packed> head) {
    TORCH_CHECK(embedding.dim() == 2 && embedding.size(1) == width_ && width_ % 32 == 0,
                "the embedding has another width");
    embedding_.vocabulary = embedding.size(0);
    embedding_.width = width_;
    embedding_.scale = float(scale);
    embedding_.table = nullptr;
    embedding_.half_table = nullptr;
    if (embedding.scalar_type() == at::kBFloat16)
      embedding_.half_table = halves(embedding, "embedding");
    else
      embedding_.table = floats(embedding, "embedding");
    last_norm_ = {floats(norm, "norm"), float(epsilon)};
    head_ = keep(head);
    tensors_.push_back(embedding);
    tensors_.push_back(norm);
    chain(layers_, head_);
  }

  // x (tokens, width) float32, changed in place. tables[i] = (cos, sin) is used by the layers whose
  // entry in rope_of_layer is i; a table has one row per token, or per position with by_position.
  void run_layers(Tensor x, const Tensor& positions, const Tensor& slots, const Tensor& rows,
                  const Tensor& block_table, const std::vector<std::pair<Tensor, Tensor>>& tables,
                  const std::vector<int64_t>& rope_of_layer, bool by_position) {
    const Step step = make_step(positions, slots, rows, block_table);
    TORCH_CHECK(x.numel() == step.tokens * width_, "x must be (tokens, width)");
    floats(x, "x");
    const auto ropes = make_ropes(step, tables, rope_of_layer, by_position);
    check_pages(step, block_table);
    py::gil_scoped_release release;
    chatsite::run_layers(at::get_num_threads(), layers_, ropes, step, width_, x.data_ptr<float>(),
                         space_);
  }

  // Layers `begin` to `end` of a step. Between its parts `hidden` (tokens, width) carries the
  // residual stream; the part with the last layer gives the logits, the others none.
  Maybe forward(const Tensor& token_ids, const Tensor& positions, const Tensor& slots,
                const Tensor& rows, const Tensor& block_table, const Tensor& logits_at,
                const std::vector<std::pair<Tensor, Tensor>>& tables,
                const std::vector<int64_t>& rope_of_layer, const Maybe& hidden, int64_t begin,
                int64_t end) {
    TORCH_CHECK(0 <= begin && begin < end && end <= size(), "no layers ", begin, " to ", end,
                " of ", size());
    TORCH_CHECK(hidden || (begin == 0 && end == size()), "a part of the layers needs hidden");
    TORCH_CHECK(embedding_.width == width_ && head_.data, "the ends of the model are not set");
    const Step step = make_step(positions, slots, rows, block_table);
    const int64_t *ids = longs(token_ids, "token_ids"), *at = longs(logits_at, "logits_at");
    TORCH_CHECK(token_ids.numel() == step.tokens, "token_ids and positions must be of one length");
    for (int64_t t = 0; t < step.tokens; t++)
      TORCH_CHECK_INDEX(ids[t] >= 0 && ids[t] < embedding_.vocabulary, "token id ", ids[t],
                        " is outside the vocabulary");
    for (int64_t i = 0; i < logits_at.numel(); i++)
      TORCH_CHECK_INDEX(at[i] >= 0 && at[i] < step.tokens, "logits_at names token ", at[i], " of ",
                        step.tokens);
    const auto ropes = make_ropes(step, tables, rope_of_layer, true);
    check_pages(step, block_table);
    if (hidden) {
      TORCH_CHECK(hidden->numel() == step.tokens * width_, "hidden must be (tokens, width)");
      floats(*hidden, "hidden");
    }
    Tensor logits = at::empty({end == size() ? logits_at.numel() : 0, head_.outputs});
    py::gil_scoped_release release;
    float* x =
        hidden ? hidden->data_ptr<float>() : Workspace::floats(space_.hidden, step.tokens * width_);
    run_decoder(at::get_num_threads(), embedding_, layers_, {begin, end}, ropes, last_norm_, head_,
                step, ids, x, at, logits_at.numel(), logits.data_ptr<float>(), space_);
    return end == size() ? Maybe(logits) : std::nullopt;
  }

  int64_t size() const { return int64_t(layers_.size()); }

  std::pair<int64_t, int64_t> heads(int64_t index) const {
    const Pages& pages = layers_.at(index).pages;
    return {pages.kv_heads, pages.dim};
  }

 private:
  const Weights& keep(const std::shared_ptr<Packed>& packed) {
    packed_.push_back(packed);
    return packed->weights();
  }

  std::vector<Rope> make_ropes(const Step& step,
                               const std::vector<std::pair<Tensor, Tensor>>& tables,
                               const std::vector<int64_t>& rope_of_layer, bool by_position) const {
    TORCH_CHECK(rope_of_layer.size() == layers_.size(), "one rope per layer is needed");
    int64_t rows = by_position ? 1 : step.tokens;
    if (by_position)
      for (int64_t t = 0; t < step.tokens; t++) rows = std::max(rows, step.positions[t] + 1);
    std::vector<Rope> ropes;
    for (const int64_t i : rope_of_layer) {
      if (i < 0) {
        ropes.emplace_back();
        continue;
      }
      const auto& [cos, sin] = tables.at(i);
      TORCH_CHECK(cos.dim() == 2 && cos.sizes() == sin.sizes() && cos.size(0) >= rows,
                  "a rope table must have a row for every token or position");
      ropes.push_back({floats(cos, "cos"), floats(sin, "sin"), 2 * cos.size(1), by_position});
    }
    return ropes;
  }

  // Every layer has its pages, and the step stays within them.
  void check_pages(const Step& step, const Tensor& block_table) const {
    TORCH_CHECK(!layers_.empty() && int64_t(pages_.size()) == size(),
                "every layer needs its pages first");
    int64_t fewest = INT64_MAX;
    for (const auto& [index, pages] : pages_) {
      fewest = std::min(fewest, pages.first.size(0));
      TORCH_CHECK(layers_[index].pages.page_tokens == layers_[0].pages.page_tokens,
                  "all layers must have pages of one size");
    }
    check_step(step, block_table, fewest, layers_[0].pages.page_tokens);
  }

  const int64_t width_;
  std::vector<Layer> layers_;
  Embedding embedding_;
  Norm last_norm_;
  Weights head_;
  Workspace space_;
  std::vector<std::shared_ptr<Packed>> packed_;
  std::vector<Tensor> tensors_;
  std::map<int64_t, std::pair<Tensor, Tensor>> pages_;
};

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  py::class_<Arena, std::shared_ptr<Arena>>(m, "Arena", py::module_local())
      .def(py::init<>())
      .def("bytes", &Arena::bytes, py::arg("size"));
  py::class_<Packed, std::shared_ptr<Packed>>(m, "Packed", py::module_local())
      .def(py::init<const Tensor&, int, const Maybe&, std::shared_ptr<Arena>>(), py::arg("weight"),
           py::arg("format"), py::arg("bias"), py::arg("arena") = nullptr)
      .def("unpacked", &Packed::unpacked)
      .def_property_readonly("outputs", [](const Packed& p) { return p.weights().outputs; })
      .def_property_readonly("inputs", [](const Packed& p) { return p.weights().inputs; })
      .def_property_readonly("nbytes", &Packed::bytes);
  m.def("linear", &linear_, py::arg("x"), py::arg("packed"));
  m.def("gated_mlp", &gated_mlp, py::arg("x"), py::arg("gate_up"), py::arg("down"),
        py::arg("gate"));
  m.def("rms_norm", &rms_norm_, py::arg("x"), py::arg("weight"), py::arg("epsilon"));
  m.def("attend", &attend_, py::arg("query"), py::arg("key"), py::arg("value"), py::arg("keys"),
        py::arg("values"), py::arg("page_tokens"), py::arg("positions"), py::arg("slots"),
        py::arg("rows"), py::arg("block_table"), py::arg("scale"), py::arg("window"),
        py::arg("softcap"), py::arg("sinks"));
  py::class_<Decoder>(m, "Decoder", py::module_local())
      .def(py::init<int64_t>(), py::arg("width"))
      .def("add_layer", &Decoder::add_layer, py::kw_only(), py::arg("qkv"), py::arg("out"),
           py::arg("gate_up"), py::arg("down"), py::arg("norms"), py::arg("query_heads"),
           py::arg("kv_heads"), py::arg("dim"), py::arg("gate"), py::arg("residual_scale"),
           py::arg("scale"), py::arg("window"), py::arg("softcap"), py::arg("sinks"))
      .def("set_pages", &Decoder::set_pages, py::arg("index"), py::arg("keys"), py::arg("values"),
           py::arg("page_tokens"))
      .def("set_ends", &Decoder::set_ends, py::arg("embedding"), py::arg("scale"), py::arg("norm"),
           py::arg("epsilon"), py::arg("head"))
      .def("run_layers", &Decoder::run_layers, py::arg("x"), py::arg("positions"), py::arg("slots"),
           py::arg("rows"), py::arg("block_table"), py::arg("tables"), py::arg("rope_of_layer"),
           py::arg("by_position"))
      .def("forward", &Decoder::forward, py::arg("token_ids"), py::arg("positions"),
           py::arg("slots"), py::arg("rows"), py::arg("block_table"), py::arg("logits_at"),
           py::arg("tables"), py::arg("rope_of_layer"), py::arg("hidden"), py::arg("begin"),
           py::arg("end"))
      .def("heads", &Decoder::heads, py::arg("index"))
      .def_property_readonly("size", &Decoder::size);
  m.def("draw", &draw_, py::arg("logits"), py::arg("rules"), py::arg("detailed") = false);
  m.def("describe", &describe_, py::arg("logits"), py::arg("count"));
  m.def("logprobs", &logprobs_, py::arg("logits"), py::arg("tokens"), py::arg("count"));
  m.def("use_matrix", &use_matrix);
  m.def("want_matrix", &want_matrix, py::arg("wanted"));
  m.attr("UNSETTLED") = UNSETTLED;
  m.attr("ISA") = SET;
  m.def("peak_bf16", [] { return peak_bf16(at::get_num_threads()); });
  m.def("peak_bytes", [] { return peak_bytes(at::get_num_threads()); });
  m.def("peak_matrix_bf16", [] { return peak_matrix_bf16(at::get_num_threads()); });
  m.def("peak_matrix_bytes", [] { return peak_matrix_bytes(at::get_num_threads()); });
  m.def("peak_fp32", [] { return peak_fp32(at::get_num_threads()); });
  m.def("peak_read", [](const Tensor& bytes) {
    return peak_read(at::get_num_threads(), bytes.const_data_ptr<uint8_t>(), bytes.numel());
  });
}
