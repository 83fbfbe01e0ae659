// Products of every dtype against double, and against themselves with other neighbours.
#include "products.h"

using namespace chatsite;

namespace {

std::string named(const char* what, const char* format, int64_t n, int64_t k) {
  return std::string(what) + " " + format + " " + std::to_string(n) + "x" + std::to_string(k);
}

void agrees_with_double(const NamedFormat& f, int64_t n, int64_t k) {
  const Matrix m(f.format, check::numbers(1, n * k), n, k, check::numbers(2, n));
  const std::vector<float> w = m.unpacked(), x = check::numbers(3, 23 * k, 2);
  std::vector<double> expected(23 * n);
  for (int64_t r = 0; r < 23; r++)
    for (int64_t o = 0; o < n; o++) {
      double sum = m.bias[o];
      for (int64_t i = 0; i < k; i++) sum += double(x[r * k + i]) * w[o * k + i];
      expected[r * n + o] = sum;
    }
  const std::string name = named("product", f.name, n, k);
  const std::vector<float> got = product(m, x);
  check::that(check::relative_error(got, expected) < f.bound, name + " is far from double's");
  check::keep_hash(name, got);
  check::that(check::same_bits(product(m, x, 2), got), name + " on two threads");
  for (int64_t rows : {1, 2, 3, 6, 7, 13}) {
    const std::vector<float> some = product(m, {x.begin(), x.begin() + rows * k});
    const std::vector<float> first(got.begin(), got.begin() + rows * n);
    check::that(check::same_bits(some, first), name + " of " + std::to_string(rows) + " rows");
  }
}

void a_row_that_is_no_number_fails_alone(const NamedFormat& f) {
  const Matrix m(f.format, check::numbers(4, 64 * 64), 64, 64);
  std::vector<float> x = check::numbers(5, 4 * 64);
  const std::vector<float> clean = product(m, x);
  x[2 * 64 + 17] = std::nanf("");
  const std::vector<float> got = product(m, x);
  bool holds = true;
  for (int i = 0; i < 4 * 64; i++)
    holds &= i / 64 == 2 ? std::isnan(got[i]) : std::memcmp(&got[i], &clean[i], 4) == 0;
  check::that(holds, std::string("a row that is no number fails alone, ") + f.name);
}

// The largest products of bytes there are: where pairs of them saturate, they do so here.
void extremes_are_exact(const NamedFormat& f) {
  std::vector<float> w(32 * 64), x(64);
  for (int i = 0; i < 32 * 64; i++) w[i] = i / 64 % 2 ? 1.f : i % 3 ? 1.f : -1.f;
  for (int i = 0; i < 64; i++) x[i] = 1;
  const Matrix m(f.format, w, 32, 64);
  const std::vector<float> got = product(m, x), kept = m.unpacked();
  bool holds = true;
  for (int o = 0; o < 32; o++) {
    double expected = 0;
    for (int i = 0; i < 64; i++) expected += kept[o * 64 + i];
    holds &= std::fabs(got[o] - expected) < 1e-3;
  }
  check::that(holds, std::string("extremes are exact, ") + f.name);
}

void gated(const NamedFormat& f, Gate gate) {
  const Matrix up(f.format, check::numbers(6, 192 * 64, .5f), 192, 64),
      down(f.format, check::numbers(7, 64 * 96), 64, 96);
  Weights first = up.weights;
  first.gated = true;
  for (int64_t rows : {1, 7}) {
    const std::vector<float> x = check::numbers(8, rows * 64, 2);
    std::vector<float> out(rows * 64);
    Activations in, between;
    in.resize(row_kind(f.format), rows, 64);
    between.resize(row_kind(f.format), rows, 96);
    run_team(1, [&](Lane& lane) {
      convert(lane, x.data(), rows, 64, in);
      gated_linear(lane, in, rows, first, gate, between);
      linear(lane, between, rows, down.weights, out.data());
    });
    const char* name = gate == Gate::Silu ? "silu" : "gelu";
    check::keep_hash(std::string("mlp ") + name + " " + f.name + " " + std::to_string(rows), out);
  }
}

}  // namespace

void test_products() {
  for (const NamedFormat& f : FORMATS) {
    agrees_with_double(f, 96, 64);
    agrees_with_double(f, 100, 224);
    a_row_that_is_no_number_fails_alone(f);
    extremes_are_exact(f);
    gated(f, Gate::Silu);
    gated(f, Gate::GeluTanh);
  }
  const std::vector<float> x = check::numbers(9, 5 * 96, 3), w = check::numbers(10, 96);
  std::vector<float> out(x.size());
  run_team(1, [&](Lane& lane) {
    rms_norm(lane, x.data(), 5, 96, w.data(), 1e-5f, out.data(), false, 1.f);
  });
  check::keep_hash("norm", out);
}
