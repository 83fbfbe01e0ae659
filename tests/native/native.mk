# The kernels without Python or torch, included from the Makefile: every set that this CPU runs, NEON
# under qemu, and all of it once more under the sanitizers.
#
# On Debian: apt install g++-aarch64-linux-gnu qemu-user-static (test-neon).

KERNELS := inference/engine/native/csrc
KERNEL_SOURCES := $(filter-out $(KERNELS)/bindings.cpp, $(wildcard $(KERNELS)/*.cpp)) \
	$(wildcard tests/native/*.cpp)
KERNEL_HEADERS := $(wildcard $(KERNELS)/*.h $(KERNELS)/simd/*.h tests/native/*.h)
KERNEL_FLAGS := -std=c++20 -fopenmp -fno-math-errno -ffp-contract=off -I$(KERNELS) \
	-Wno-uninitialized -Wno-maybe-uninitialized -Wno-ignored-attributes
KERNEL_TESTS := var/kernel-tests
EXPECTED := tests/native/expected.txt

AVX2_FLAGS   := -mavx2 -mfma -mf16c -mbmi2 -mpopcnt -mlzcnt
AVX512_FLAGS := $(AVX2_FLAGS) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512cd -mavx512bf16 \
	-mavx512vnni
avx512-FLAGS    := $(AVX512_FLAGS)
avx2-vnni-FLAGS := $(AVX2_FLAGS) -mavxvnni
avx2-FLAGS      := $(AVX2_FLAGS)
scalar-FLAGS    := -DCHATSITE_SCALAR
neon-FLAGS      := -march=armv8.2-a+dotprod+fp16
neon-i8mm-FLAGS := -march=armv8.2-a+dotprod+fp16+i8mm

# Those of this CPU, by the names that isa.py knows them by.
HERE = $(shell $(BIN)/python -c "from inference.engine.native import isa; \
	print(*(each.name for each in isa.runnable()))")

.PHONY: test-kernels test-neon test-sanitizers expected-hashes

test-kernels: $(STAMP)  ## The kernels of every instruction set that this CPU runs, without torch
	@$(MAKE) --no-print-directory $(foreach set,$(HERE),run-$(set))

test-neon: run-neon run-neon-i8mm  ## The kernels for ARM, under emulation (qemu-user)

test-sanitizers: $(STAMP)  ## The kernels under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory $(foreach set,$(HERE),sane-$(set))

run-%: $(KERNEL_TESTS)/%
	OMP_NUM_THREADS=2 $(if $(findstring neon,$*),qemu-aarch64-static -cpu max )$< $(EXPECTED)

sane-%: $(KERNEL_TESTS)/sane-%
	UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=2 $< $(EXPECTED)

# One program per set, and one more of it under the sanitizers, made of objects in a folder each.
define kernel-test
$(KERNEL_TESTS)/$(1): $(patsubst %.cpp,$(KERNEL_TESTS)/$(1).o/%.o,$(notdir $(KERNEL_SOURCES)))
	$(3) $(4) -fopenmp $$^ -o $$@

$(KERNEL_TESTS)/$(1).o/%.o: %.cpp $(KERNEL_HEADERS)
	@mkdir -p $$(@D)
	$(3) $(4) $(KERNEL_FLAGS) $($(2)-FLAGS) -c $$< -o $$@
endef

vpath %.cpp $(KERNELS) tests/native
SANE := -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
$(foreach set,avx512 avx2-vnni avx2 scalar,$(eval $(call kernel-test,$(set),$(set),$(CXX),-O2)))
$(foreach set,avx512 avx2-vnni avx2 scalar,$(eval \
	$(call kernel-test,sane-$(set),$(set),$(CXX),$(SANE))))
$(foreach set,neon neon-i8mm,$(eval \
	$(call kernel-test,$(set),$(set),aarch64-linux-gnu-g++ -static,-O2)))
