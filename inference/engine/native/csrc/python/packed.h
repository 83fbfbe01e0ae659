// A matrix as the kernels read it, and the memory that many of them share.
#pragma once
#include <sys/mman.h>

#include "../pack.h"
#include "tensors.h"

namespace chatsite::python {

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

}  // namespace chatsite::python
