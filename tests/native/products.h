// Packed matrices and products, as the tests call them.
#pragma once
#include "check.h"
#include "linear.h"
#include "pack.h"

struct Matrix {
  chatsite::Weights weights;
  std::vector<uint8_t> data;
  std::vector<float> bias;

  Matrix(chatsite::Format format, const std::vector<float>& values, int64_t outputs, int64_t inputs,
         std::vector<float> with_bias = {})
      : data(chatsite::panels(outputs) * chatsite::panel_bytes(format, inputs) + 64),
        bias(std::move(with_bias)) {
    weights.format = format;
    weights.outputs = outputs;
    weights.inputs = inputs;
    uint8_t* aligned = data.data() + (64 - reinterpret_cast<uintptr_t>(data.data()) % 64) % 64;
    weights.data = aligned;
    if (!bias.empty()) {
      bias.resize(chatsite::panels(outputs) * chatsite::PANEL);
      weights.bias = bias.data();
    }
    chatsite::run_team(1, [&](chatsite::Lane& lane) {
      chatsite::pack(lane, format, values.data(), outputs, inputs, aligned);
    });
  }
  Matrix(const Matrix&) = delete;

  std::vector<float> unpacked() const {
    std::vector<float> out(weights.outputs * weights.inputs);
    chatsite::run_team(1,
                       [&](chatsite::Lane& lane) { chatsite::unpack(lane, weights, out.data()); });
    return out;
  }
};

inline std::vector<float> product(const Matrix& m, const std::vector<float>& x, int threads = 1) {
  const int64_t inputs = m.weights.inputs, rows = int64_t(x.size()) / inputs;
  std::vector<float> out(rows * m.weights.outputs);
  chatsite::Activations activations;
  activations.resize(chatsite::row_kind(m.weights.format), rows, inputs);
  chatsite::run_team(threads, [&](chatsite::Lane& lane) {
    chatsite::convert(lane, x.data(), rows, inputs, activations);
    chatsite::linear(lane, activations, rows, m.weights, out.data());
  });
  return out;
}

struct NamedFormat {
  const char* name;
  chatsite::Format format;
  double bound;  // of a product's relative error: rows of bf16 are rounded, of bytes quantised
};

inline const NamedFormat FORMATS[] = {{"bfloat16", chatsite::Format::Bf16, 0.003},
                                      {"int8", chatsite::Format::Int8, 0.008},
                                      {"int4", chatsite::Format::Int4, 0.008},
                                      {"float32", chatsite::Format::Fp32, 1e-6},
                                      {"float16", chatsite::Format::Fp16, 1e-6}};
