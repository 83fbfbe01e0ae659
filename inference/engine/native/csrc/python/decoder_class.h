// The fused layers of a model as one object: checks what it is given and keeps it alive.
#pragma once
#include "../decoder.h"
#include "packed.h"
#include "paged_attention.h"

namespace chatsite::python {

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
    embedding_.bf16_table = nullptr;
    embedding_.fp16_table = nullptr;
    if (embedding.scalar_type() == at::kBFloat16)
      embedding_.bf16_table = halves(embedding, "embedding");
    else if (embedding.scalar_type() == at::kHalf && embedding.is_contiguous())
      embedding_.fp16_table = reinterpret_cast<const fp16*>(embedding.const_data_ptr());
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

}  // namespace chatsite::python
