"""Native kernels: C++ for AVX-512, AVX2, NEON or any other CPU, and the backend that uses them."""

from inference.engine.native.native_backend import NativeBackend as NativeBackend
