// Paged attention against double, whole and cut into steps.
#include <algorithm>
#include <numeric>

#include "attention.h"
#include "check.h"

using namespace chatsite;

namespace {

constexpr int64_t PAGE = 32;

struct Case {
  const char* name;
  int64_t tokens, query_heads, kv_heads, dim, window;
  float softcap;
  bool sinks;
};

const Case CASES[] = {{"grouped", 300, 9, 3, 64, 0, 0, false},
                      {"short window", 90, 4, 2, 32, 16, 0, false},
                      {"two segments", 700, 3, 1, 32, 600, 0, true},
                      {"soft cap", 150, 8, 1, 128, 0, 2, false},
                      {"wide", 40, 2, 2, 256, 0, 0, false}};

std::vector<float> rounded(std::vector<float> values) {
  for (float& x : values) x = from_bf16(chatsite::to_bf16(x));
  return values;
}

class Sequence {
 public:
  explicit Sequence(const Case& c)
      : c_(c),
        q_(rounded(check::numbers(1, c.tokens * c.query_heads * c.dim, 2))),
        k_(rounded(check::numbers(2, c.tokens * c.kv_heads * c.dim, 2))),
        v_(rounded(check::numbers(3, c.tokens * c.kv_heads * c.dim))),
        sinks_(check::numbers(4, c.query_heads)),
        pages_((c.tokens + PAGE - 1) / PAGE) {
    for (int64_t i = 0; i < pages_; i++) table_.push_back(int32_t(pages_ - i));  // scattered
    keys_.resize((pages_ + 1) * c.kv_heads * PAGE * c.dim);
    values_.resize(keys_.size());
  }

  std::vector<float> step(int64_t begin, int64_t end, int threads = 1) {
    const int64_t count = end - begin, q = c_.query_heads * c_.dim, kv = c_.kv_heads * c_.dim;
    std::vector<int64_t> positions(count), slots(count), rows(count, 0);
    std::iota(positions.begin(), positions.end(), begin);
    for (int64_t t = 0; t < count; t++)
      slots[t] = table_[positions[t] / PAGE] * PAGE + positions[t] % PAGE;
    const Step step{count, positions.data(), slots.data(), rows.data(), table_.data(), pages_};
    const Heads heads{&q_[begin * q], &k_[begin * kv], &v_[begin * kv], q, kv, kv, c_.query_heads};
    const AttentionRule rule{1 / std::sqrt(float(c_.dim)), c_.window, c_.softcap,
                             c_.sinks ? sinks_.data() : nullptr};
    const Pages pages{keys_.data(), values_.data(), c_.kv_heads, c_.dim, PAGE};
    AttentionPlan plan(step, c_.query_heads, c_.kv_heads);
    const auto& units = plan.units(c_.window, PAGE);
    std::vector<float> scratch, out(count * q);
    run_team(threads, [&](Lane& lane) {
      attend(lane, step, plan, units, heads, Rope{}, rule, pages, scratch, nullptr, out.data());
    });
    return out;
  }

  std::vector<double> expected(int64_t at) const {
    const int64_t begin = c_.window ? std::max<int64_t>(0, at + 1 - c_.window) : 0;
    const int64_t group = c_.query_heads / c_.kv_heads;
    std::vector<double> out(c_.query_heads * c_.dim);
    for (int64_t h = 0; h < c_.query_heads; h++) {
      std::vector<double> weights;
      double total = c_.sinks ? std::exp(double(sinks_[h])) : 0;
      for (int64_t t = begin; t <= at; t++) {
        double score = 0;
        for (int64_t d = 0; d < c_.dim; d++)
          score += double(q_[(at * c_.query_heads + h) * c_.dim + d]) *
                   k_[(t * c_.kv_heads + h / group) * c_.dim + d];
        score /= std::sqrt(double(c_.dim));
        if (c_.softcap) score = c_.softcap * std::tanh(score / c_.softcap);
        weights.push_back(std::exp(score));
        total += weights.back();
      }
      for (int64_t t = begin; t <= at; t++)
        for (int64_t d = 0; d < c_.dim; d++)
          out[h * c_.dim + d] +=
              weights[t - begin] / total * v_[(t * c_.kv_heads + h / group) * c_.dim + d];
    }
    return out;
  }

 private:
  const Case& c_;
  const std::vector<float> q_, k_, v_, sinks_;
  const int64_t pages_;
  std::vector<int32_t> table_;
  std::vector<bf16> keys_, values_;
};

}  // namespace

void test_attention() {
  for (const Case& c : CASES) {
    const std::string name = std::string("attention ") + c.name;
    const std::vector<float> whole = Sequence(c).step(0, c.tokens);
    check::keep_hash(name, whole);
    const int64_t width = c.query_heads * c.dim;
    for (int64_t at : {int64_t(0), c.tokens / 2, c.tokens - 1}) {
      const std::vector<float> got(whole.begin() + at * width, whole.begin() + (at + 1) * width);
      const double error = check::relative_error(got, Sequence(c).expected(at));
      check::that(error < 0.005, name + " is far from double's");  // weights are rounded to bf16
    }
    check::that(check::same_bits(Sequence(c).step(0, c.tokens, 2), whole), name + " on 2 threads");
    Sequence cut(c);
    std::vector<float> parts;
    for (int64_t begin = 0, count = 1; begin < c.tokens; begin += count, count = count * 3 % 37)
      for (const float x : cut.step(begin, std::min(begin + count, c.tokens))) parts.push_back(x);
    check::that(check::same_bits(parts, whole), name + " cut into steps");
  }
}
