// Products with packed matrices, and norms: linear, gated_mlp, rms_norm.
#pragma once
#include "../linear.h"
#include "packed.h"

namespace chatsite::python {

inline Tensor linear_(const Tensor& x, const Packed& packed) {
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
inline Tensor gated_mlp(const Tensor& x, const Packed& gate_up, const Packed& down, int gate) {
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

inline Tensor rms_norm_(const Tensor& x, const Tensor& weight, double epsilon) {
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

}  // namespace chatsite::python
