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
    set_bias(bias);
    py::gil_scoped_release release;
    run_team(at::get_num_threads(), [&](Lane& lane) {
      pack(lane, weights_.format, from, weights_.outputs, weights_.inputs,
           data_.data_ptr<uint8_t>());
    });
  }

  // Of what `data` gave before: nothing is copied, and `data` is kept alive.
  Packed(const Tensor& data, int format, int64_t outputs, int64_t inputs, const Maybe& bias) {
    TORCH_CHECK(format >= 0 && format <= 4 && outputs > 0 && inputs > 0 && inputs % GROUP == 0,
                "no format, outputs and inputs of packed weights");
    weights_.format = Format(format);
    weights_.outputs = outputs;
    weights_.inputs = inputs;
    size_ = panels(outputs) * panel_bytes(weights_.format, inputs);
    TORCH_CHECK(data.scalar_type() == at::kByte && data.is_contiguous() && data.numel() == size_,
                "packed weights of this shape take ", size_, " contiguous bytes");
    TORCH_CHECK(reinterpret_cast<uintptr_t>(data.const_data_ptr<uint8_t>()) % 64 == 0,
                "packed weights must begin at a multiple of 64 bytes");
    data_ = data;
    weights_.data = data_.const_data_ptr<uint8_t>();
    set_bias(bias);
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
  Tensor data() const { return data_.narrow(0, 0, size_); }
  Maybe bias() const {
    return bias_.defined() ? Maybe(bias_.narrow(0, 0, weights_.outputs)) : std::nullopt;
  }

 private:
  void set_bias(const Maybe& bias) {
    if (!bias) return;
    TORCH_CHECK(bias->numel() == weights_.outputs, "bias must have one value per output");
    bias_ = at::zeros({panels(weights_.outputs) * PANEL});
    bias_.narrow(0, 0, weights_.outputs).copy_(*bias);
    weights_.bias = bias_.const_data_ptr<float>();
  }

  Weights weights_;
  int64_t size_;
  Tensor data_, bias_;
};

}  // namespace chatsite::python
