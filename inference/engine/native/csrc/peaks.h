// What these cores can do at most: the yardstick of bench/kernels.py.
#pragma once
#include <cstdint>

namespace chatsite {

// Operations per second (a multiply and an add are two) of the BF16, byte and FP32 products, on
// registers alone.
double peak_bf16(int threads);
double peak_bytes(int threads);

// The same on matrix registers; 0 where there are none.
double peak_matrix_bf16(int threads);
double peak_matrix_bytes(int threads);
double peak_fp32(int threads);

// Bytes per second read from `size` bytes at `data`.
double peak_read(int threads, const uint8_t* data, int64_t size);

}  // namespace chatsite
