// Draws tokens and tells log-probabilities of a step's logits.
#pragma once
#include <array>

#include "../sampling.h"
#include "tensors.h"

namespace chatsite::python {

using RuleTuple = std::tuple<double, int64_t, double, double, double>;

inline int team_for(int64_t rows) { return rows == 1 ? 1 : at::get_num_threads(); }

using Details = std::array<double, 8>;

// A token for each row, its log-probability, and if asked for what the samplers left of the row, as
// in sampling.h.
inline std::tuple<std::vector<int64_t>, std::vector<float>, std::vector<Details>> draw_(
    const Tensor& logits, const std::vector<RuleTuple>& rules, bool detailed) {
  TORCH_CHECK(logits.dim() == 2 && int64_t(rules.size()) == logits.size(0),
              "one rule per row is needed");
  const int64_t rows = logits.size(0), width = logits.size(1);
  const float* from = floats(logits, "logits");
  std::vector<Rule> given;
  for (const auto& [temperature, top_k, top_p, min_p, uniform] : rules)
    given.push_back({float(temperature), top_k, top_p, min_p, uniform});
  std::vector<Drawn> drawn(rows);
  {
    py::gil_scoped_release release;
    run_team(team_for(rows), [&](Lane& lane) {
      draw(lane, from, rows, width, given.data(), detailed, drawn.data());
    });
  }
  std::vector<int64_t> tokens;
  std::vector<float> logp;
  std::vector<Details> details;
  for (const Drawn& each : drawn) {
    tokens.push_back(each.token);
    logp.push_back(each.logp);
    if (detailed)
      details.push_back({double(each.kept), each.below, each.kept_mass, each.mass_k, each.floor,
                         each.best_mass, each.best, each.log_total});
  }
  return {tokens, logp, details};
}

// (largest logit, its log-probability and the entropy of each row; how far the `count` likeliest
// lie below; their ids), as in sampling.h.
inline std::tuple<Tensor, Tensor, Tensor> describe_(const Tensor& logits, int64_t count) {
  TORCH_CHECK(logits.dim() == 2, "rows of logits are needed");
  const int64_t rows = logits.size(0), width = logits.size(1);
  TORCH_CHECK(count >= 1 && count <= width, "count must be from 1 to ", width);
  const float* from = floats(logits, "logits");
  static_assert(sizeof(Described) == 3 * sizeof(float));
  Tensor described = at::empty({rows, 3}), below_best = at::empty({rows, count}),
         indices = at::empty({rows, count}, at::kInt);
  py::gil_scoped_release release;
  // A row takes ten microseconds. On a busy machine it takes milliseconds until another thread of a
  // team runs, so few rows are one thread's work.
  run_team(rows <= 16 ? 1 : team_for(rows), [&](Lane& lane) {
    describe(lane, from, rows, width, count,
             reinterpret_cast<Described*>(described.data_ptr<float>()),
             below_best.data_ptr<float>(), indices.data_ptr<int32_t>());
  });
  return {described, below_best, indices};
}

// (log-probabilities of `tokens`, of the `count` likeliest, and the ids of those), as in
// sampling.h.
inline std::tuple<Tensor, Tensor, Tensor> logprobs_(const Tensor& logits,
                                                    const std::vector<int64_t>& tokens,
                                                    int64_t count) {
  TORCH_CHECK(logits.dim() == 2 && int64_t(tokens.size()) == logits.size(0),
              "one token per row is needed");
  const int64_t rows = logits.size(0), width = logits.size(1);
  TORCH_CHECK(count >= 0 && count <= width, "count must be from 0 to ", width);
  for (const int64_t token : tokens)
    TORCH_CHECK(token >= 0 && token < width, "token ids must be below ", width);
  const float* from = floats(logits, "logits");
  Tensor chosen = at::empty({rows}), best = at::empty({rows, count}),
         indices = at::empty({rows, count}, at::kLong);
  py::gil_scoped_release release;
  run_team(team_for(rows), [&](Lane& lane) {
    logprobs(lane, from, rows, width, tokens.data(), count, chosen.data_ptr<float>(),
             best.data_ptr<float>(), indices.data_ptr<int64_t>());
  });
  return {chosen, best, indices};
}

}  // namespace chatsite::python
