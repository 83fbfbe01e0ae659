// A run of decoder layers, and a whole decoder, as one call.
//
// Knows the one shape of layer that most decoders share: norm, attention, residual, norm, gated
// MLP, residual; with optional norms of query and key heads and norms behind attention and MLP.
// Whether a model's layers have this shape is found out in Python (fusion.py), by comparing
// results.
#pragma once
#include <vector>

#include "attention.h"
#include "linear.h"

namespace chatsite {

struct Norm {
  const float* weight = nullptr;  // null: there is no such norm
  float epsilon = 0;
  explicit operator bool() const { return weight != nullptr; }
};

struct Layer {
  Norm before_attention, query, key, after_attention, before_mlp, after_mlp;
  Weights qkv, out, gate_up, down;
  Gate gate = Gate::Silu;
  float residual_scale = 1;  // of what attention and MLP add
  int64_t query_heads = 0;
  AttentionRule rule;
  Pages pages;
};

struct Embedding {
  const float* table = nullptr;  // (vocabulary, width), or null, as the next two
  const bf16* bf16_table = nullptr;
  const fp16* fp16_table = nullptr;
  int64_t vocabulary = 0, width = 0;
  float scale = 1;  // what the residual stream begins with, over the table's rows
};

// Buffers between the phases of a step; grown as needed and kept.
struct Workspace {
  Activations normed, attended, kept, gated;
  std::vector<float> qkv, delta, parts, hidden, picked;

  static float* floats(std::vector<float>& buffer, int64_t size) {
    if (int64_t(buffer.size()) < size) buffer.resize(size);
    return buffer.data();
  }
};

// Tell each product which one follows it, round to the first again. Layers and head must not move
// afterwards.
void chain(std::vector<Layer>& layers, Weights& head);

// Run `layers` over the residual stream x (tokens, width), in place. ropes[i] is layer i's.
void run_layers(int threads, const std::vector<Layer>& layers, const std::vector<Rope>& ropes,
                const Step& step, int64_t width, float* x, Workspace& space);

// Layers `begin` to `end` of a model.
struct Span {
  int64_t begin, end;
};

// Embed the tokens into the residual stream x (tokens, width), run the layers, and give logits
// (num_logits, vocabulary) of the tokens at `logits_at`. Of a span, the first part does the
// embedding and the last one the logits; x carries what lies between.
void run_decoder(int threads, const Embedding& embedding, const std::vector<Layer>& layers,
                 Span span, const std::vector<Rope>& ropes, const Norm& last_norm,
                 const Weights& head, const Step& step, const int64_t* token_ids, float* x,
                 const int64_t* logits_at, int64_t num_logits, float* logits, Workspace& space);

}  // namespace chatsite
