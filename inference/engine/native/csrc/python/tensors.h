// What a tensor holds, if it is of the kind that a kernel wants; else an error that names it.
#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/utils/pybind.h>

#include <optional>

#include "../simd/simd.h"

namespace chatsite::python {

namespace py = pybind11;
using at::Tensor;
using Maybe = std::optional<Tensor>;

inline const float* floats(const Tensor& t, const char* name) {
  TORCH_CHECK(t.scalar_type() == at::kFloat && t.is_contiguous(), name,
              " must be contiguous float32");
  return t.const_data_ptr<float>();
}

inline const float* floats(const Maybe& t, const char* name) {
  return t ? floats(*t, name) : nullptr;
}

inline const int64_t* longs(const Tensor& t, const char* name) {
  TORCH_CHECK(t.scalar_type() == at::kLong && t.is_contiguous(), name, " must be contiguous int64");
  return t.const_data_ptr<int64_t>();
}

inline bf16* halves(const Tensor& t, const char* name) {
  TORCH_CHECK(t.scalar_type() == at::kBFloat16 && t.is_contiguous(), name,
              " must be contiguous bfloat16");
  return reinterpret_cast<bf16*>(t.data_ptr());
}

}  // namespace chatsite::python
