"""Native kernels: C++ for CPUs with AVX-512 BF16 and VNNI, and the backend that serves on them."""

from inference.engine.native.native_backend import NativeBackend as NativeBackend
