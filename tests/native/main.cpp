// The kernels of one instruction set without Python or torch: `kernels-test FILE` runs all cases
// and compares their hashes with FILE's; `kernels-test --write FILE` writes them.
//
// Whole numbers are exact and every sum of floats has one order, so one file serves all sets.
#include "check.h"
#include "matrix.h"
#include "simd/simd.h"

void test_products();
void test_attention();
void test_decoder();
void test_sampling();

namespace {

std::map<std::string, uint64_t> read(const char* path) {
  std::map<std::string, uint64_t> found;
  std::FILE* file = std::fopen(path, "r");
  char name[200];
  unsigned long long value;
  while (file && std::fscanf(file, "%16llx %199[^\n]\n", &value, name) == 2) found[name] = value;
  if (file) std::fclose(file);
  return found;
}

void write(const char* path) {
  std::FILE* file = std::fopen(path, "w");
  for (const auto& [name, value] : check::hashes)
    std::fprintf(file, "%016llx %s\n", static_cast<unsigned long long>(value), name.c_str());
  std::fclose(file);
}

}  // namespace

int main(int count, char** arguments) {
  const bool writes = count == 3 && std::strcmp(arguments[1], "--write") == 0;
  if (count != 2 && !writes) return std::printf("usage: kernels-test [--write] FILE\n"), 2;
  chatsite::want_matrix(false);  // sums of bf16 run in another order there
  test_products();
  test_attention();
  test_decoder();
  test_sampling();
  if (writes) return write(arguments[2]), check::failures != 0;
  const auto expected = read(arguments[1]);
  check::that(expected.size() == check::hashes.size(), "the file has as many hashes as cases");
  for (const auto& [name, value] : check::hashes) {
    const auto found = expected.find(name);
    check::that(found != expected.end() && found->second == value, "the expected bits of " + name);
  }
  std::printf("%s: %d checks passed, %d failed\n", chatsite::SET, check::passed, check::failures);
  return check::failures != 0;
}
