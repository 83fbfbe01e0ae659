// The phases of a layer in order. Every thread of the team walks through all of this together.
#include "decoder.h"

#include <algorithm>
#include <cmath>
#include <deque>

#include "matrix.h"

namespace chatsite {
namespace {

// Normalise each head of width `dim` in place. x starts at the first head of token 0.
void norm_heads(Lane& lane, float* x, int64_t tokens, int64_t stride, int64_t heads, int64_t dim,
                const Norm& norm) {
  lane.for_each(tokens, [&](int64_t t) {
    for (int64_t h = 0; h < heads; h++) {
      float* head = x + t * stride + h * dim;
      F32 squares = splat(0.f);
      for (int64_t d = 0; d < dim; d += LANES)
        squares = fma(load(head + d), load(head + d), squares);
      const float mean = reduce_add(squares) / float(dim);
      const F32 factor = splat(1.f / std::sqrt(mean + norm.epsilon));
      for (int64_t d = 0; d < dim; d += LANES)
        store(head + d, load(head + d) * factor * load(norm.weight + d));
    }
  });
}

// x += scale * after(activations W^T), without `after` where the layer has no such norm.
void add_product(Lane& lane, const Activations& activations, int64_t tokens, const Weights& w,
                 const Norm& after, float scale, float* delta, float* x, Prefetcher* prefetcher) {
  if (!after) return linear(lane, activations, tokens, w, x, true, scale, prefetcher);
  linear(lane, activations, tokens, w, delta, false, 1.f, prefetcher);
  rms_norm(lane, delta, tokens, w.outputs, after.weight, after.epsilon, x, true, scale);
}

constexpr int64_t FEW =
    8;  // tokens; with more of them products wait for arithmetic and not for memory

// Whether memory is idle enough during products to be asked for what comes behind them.
bool can_ask_ahead(const Layer& layer, int64_t tokens) {
  const bool waits_for_memory = layer.qkv.format == Format::Bf16 && use_matrix();
  return tokens > FEW && !waits_for_memory;
}

// The steps of the shortest tiles of a layer's products.
int64_t steps_of(const Layer& layer) {
  const int64_t inputs =
      std::min({layer.qkv.inputs, layer.out.inputs, layer.gate_up.inputs, layer.down.inputs});
  switch (layer.qkv.format) {
    case Format::Bf16: return inputs / 2;
    case Format::Int8: return inputs / 4;
    case Format::Int4: return inputs / 8;
    case Format::Fp32: return inputs;
    case Format::Fp16: return inputs / 2;
  }
  return 0;
}

// The tokens whose logits are wanted, and where their rows of the residual stream go.
struct Kept {
  const int64_t* at;
  int64_t count;
  float* x;
};

class LayerRun {
 public:
  LayerRun(const std::vector<Layer>& layers, const std::vector<Rope>& ropes, const Step& step,
           int64_t width, Workspace& space)
      : layers_(layers),
        ropes_(ropes),
        step_(step),
        width_(width),
        space_(space),
        plan_(step, layers[0].query_heads, layers[0].pages.kv_heads) {
    int64_t qkv = 0, heads = 0, gated = 0;
    for (const Layer& layer : layers) {
      qkv = std::max(qkv, layer.qkv.outputs);
      heads = std::max(heads, layer.out.inputs);
      gated = std::max(gated, layer.down.inputs);
      const Pages& pages = layer.pages;
      units_.push_back(&plan_.units(layer.rule.window, pages.page_tokens));
      prefetchers_.emplace_back(units_.back()->pages, pages.keys, pages.values,
                                pages.page_elements() * sizeof(bf16), steps_of(layer));
    }
    qkv_ = Workspace::floats(space.qkv, step.tokens * qkv);
    delta_ = Workspace::floats(space.delta, step.tokens * width);
    const RowKind kind = row_kind(layers[0].qkv.format);
    space.normed.resize(kind, step.tokens, width);
    space.attended.resize(kind, step.tokens, heads);
    space.gated.resize(kind, step.tokens, gated);
  }

  // With `kept`, the last layer attends for all tokens and goes on with those alone: what it would
  // make of the others nobody reads.
  void run(Lane& lane, Span span, float* x, const Kept* kept = nullptr) {
    const bool asks = can_ask_ahead(layers_[0], step_.tokens);
    const auto prefetcher = [&](int64_t i) {
      return i < span.end && asks ? &prefetchers_[i] : nullptr;
    };
    for (int64_t i = span.begin; i < span.end; i++)
      run_layer(lane, layers_[i], ropes_[i], *units_[i], prefetcher(i), prefetcher(i + 1), x,
                i + 1 == span.end ? kept : nullptr);
  }

 private:
  void run_layer(Lane& lane, const Layer& layer, const Rope& rope,
                 const AttentionPlan::Units& units, Prefetcher* own, Prefetcher* next, float* x,
                 const Kept* kept) {
    int64_t tokens = step_.tokens;
    const int64_t dim = layer.pages.dim, kv_heads = layer.pages.kv_heads;
    const int64_t stride = layer.qkv.outputs, keys = layer.query_heads * dim,
                  values = keys + kv_heads * dim;
    const Norm& first = layer.before_attention;
    rms_norm(lane, x, tokens, width_, first.weight, first.epsilon, space_.normed);
    linear(lane, space_.normed, tokens, layer.qkv, qkv_, false, 1.f, own);
    if (layer.query) norm_heads(lane, qkv_, tokens, stride, layer.query_heads, dim, layer.query);
    if (layer.key) norm_heads(lane, qkv_ + keys, tokens, stride, kv_heads, dim, layer.key);
    const Heads heads{qkv_, qkv_ + keys, qkv_ + values, stride, stride, stride, layer.query_heads};
    attend(lane, step_, plan_, units, heads, rope, layer.rule, layer.pages, space_.parts,
           &space_.attended, nullptr);
    const Activations* attended = &space_.attended;
    if (kept) {
      lane.for_each(kept->count, [&](int64_t i) {
        space_.kept.copy_row(i, space_.attended, kept->at[i]);
        std::copy_n(x + kept->at[i] * width_, width_, kept->x + i * width_);
      });
      attended = &space_.kept;
      tokens = kept->count;
      x = kept->x;
    }
    add_product(lane, *attended, tokens, layer.out, layer.after_attention, layer.residual_scale,
                delta_, x, next);

    const Norm& second = layer.before_mlp;
    rms_norm(lane, x, tokens, width_, second.weight, second.epsilon, space_.normed);
    gated_linear(lane, space_.normed, tokens, layer.gate_up, layer.gate, space_.gated, next);
    add_product(lane, space_.gated, tokens, layer.down, layer.after_mlp, layer.residual_scale,
                delta_, x, next);
  }

  const std::vector<Layer>& layers_;
  const std::vector<Rope>& ropes_;
  const Step& step_;
  const int64_t width_;
  Workspace& space_;
  AttentionPlan plan_;
  std::vector<const AttentionPlan::Units*> units_;  // by layer
  std::deque<Prefetcher> prefetchers_;              // by layer
  float *qkv_, *delta_;
};

void embed(Lane& lane, const Embedding& embedding, const int64_t* ids, int64_t tokens, float* x) {
  lane.for_each(tokens, [&](int64_t t) {
    const int64_t from = ids[t] * embedding.width;
    float* to = x + t * embedding.width;
    const F32 scale = splat(embedding.scale);
    for (int64_t k = 0; k < embedding.width; k += LANES) {
      const F32 row = embedding.table        ? load(embedding.table + from + k)
                      : embedding.bf16_table ? load_bf16(embedding.bf16_table + from + k)
                                             : load_fp16(embedding.fp16_table + from + k);
      store(to + k, row * scale);
    }
  });
}

}  // namespace

void chain(std::vector<Layer>& layers, Weights& head) {
  std::vector<Weights*> order;
  for (Layer& layer : layers)
    order.insert(order.end(), {&layer.qkv, &layer.out, &layer.gate_up, &layer.down});
  if (head.data) order.push_back(&head);
  for (size_t i = 0; i < order.size(); i++) order[i]->next = order[(i + 1) % order.size()];
}

void run_layers(int threads, const std::vector<Layer>& layers, const std::vector<Rope>& ropes,
                const Step& step, int64_t width, float* x, Workspace& space) {
  LayerRun run(layers, ropes, step, width, space);
  run_team(threads, [&](Lane& lane) { run.run(lane, {0, int64_t(layers.size())}, x); });
}

void run_decoder(int threads, const Embedding& embedding, const std::vector<Layer>& layers,
                 Span span, const std::vector<Rope>& ropes, const Norm& last_norm,
                 const Weights& head, const Step& step, const int64_t* token_ids, float* x,
                 const int64_t* logits_at, int64_t num_logits, float* logits, Workspace& space) {
  const int64_t width = embedding.width;
  const bool is_last = span.end == int64_t(layers.size());
  LayerRun run(layers, ropes, step, width, space);
  static thread_local Activations last;
  Activations& chosen =
      last;  // the lambda below runs on other threads, whose own `last` is another
  chosen.resize(row_kind(head.format), num_logits, width);
  const Kept kept{logits_at, num_logits, Workspace::floats(space.picked, num_logits * width)};
  if (is_last) space.kept.resize(space.attended.kind, num_logits, space.attended.width);
  run_team(threads, [&](Lane& lane) {
    if (span.begin == 0) embed(lane, embedding, token_ids, step.tokens, x);
    run.run(lane, span, x, is_last ? &kept : nullptr);
    if (!is_last) return;
    rms_norm(lane, kept.x, num_logits, width, last_norm.weight, last_norm.epsilon, chosen);
    linear(lane, chosen, num_logits, head, logits);
  });
}

}  // namespace chatsite
