// A small decoder in one call, of every dtype: the same bits by chunks, tokens and threads; and
// draws.
#include <memory>
#include "decoder.h"

#include "products.h"
#include "sampling.h"

using namespace chatsite;

namespace {

constexpr int64_t WIDTH = 64, HEADS = 4, KV_HEADS = 2, DIM = 32, MLP = 96, VOCABULARY = 200;
constexpr int64_t LAYERS = 2, PAGE = 32, TOKENS = 40, HEAD_ROOM = 2;

struct Model {
  explicit Model(const NamedFormat& f) : table(check::numbers(20, VOCABULARY * WIDTH)) {
    const auto matrix = [&](uint32_t seed, int64_t n, int64_t k) -> const Weights& {
      matrices.push_back(
          std::make_unique<Matrix>(f.format, check::numbers(seed, n * k, .3f), n, k));
      return matrices.back()->weights;
    };
    norm.assign(WIDTH, 1.25f);
    for (uint32_t i = 0; i < LAYERS; i++) {
      Layer layer;
      layer.before_attention = layer.before_mlp = {norm.data(), 1e-5f};
      if (i == 1) layer.query = layer.key = {norm.data(), 1e-6f};
      layer.qkv = matrix(30 + i, (HEADS + 2 * KV_HEADS) * DIM, WIDTH);
      layer.out = matrix(40 + i, WIDTH, HEADS * DIM);
      layer.gate_up = matrix(50 + i, 2 * MLP, WIDTH);
      layer.gate_up.gated = true;
      layer.down = matrix(60 + i, WIDTH, MLP);
      layer.query_heads = HEADS;
      layer.rule.scale = 1 / std::sqrt(float(DIM));
      layer.rule.window = i == 1 ? 20 : 0;
      keys.emplace_back((HEAD_ROOM + 1) * KV_HEADS * PAGE * DIM);
      values.emplace_back(keys.back().size());
      layers.push_back(layer);
    }
    for (int i = 0; i < LAYERS; i++)
      layers[i].pages = {keys[i].data(), values[i].data(), KV_HEADS, DIM, PAGE};
    head = matrix(70, VOCABULARY, WIDTH);
    chain(layers, head);
    for (int64_t p = 0; p < TOKENS; p++)
      for (int64_t d = 0; d < DIM / 2; d++) {  // no real angles: libraries of maths differ
        const float x = check::number(80, uint32_t(p * DIM + d)) * .7f;
        sin.push_back(x), cos.push_back(1 - x * x / 2);
      }
  }

  std::vector<float> step(int64_t begin, int64_t end, int threads) {
    const int64_t count = end - begin;
    std::vector<int64_t> ids, positions, slots, rows(count, 0), at;
    for (int64_t t = begin; t < end; t++) {
      ids.push_back(t * 37 % VOCABULARY);
      positions.push_back(t);
      slots.push_back(pages[t / PAGE] * PAGE + t % PAGE);
      at.push_back(t - begin);
    }
    const Step step{count, positions.data(), slots.data(), rows.data(), pages, HEAD_ROOM};
    const Embedding embedding{table.data(), nullptr, nullptr, VOCABULARY, WIDTH, 1.5f};
    const std::vector<Rope> ropes(LAYERS, Rope{cos.data(), sin.data(), DIM, true});
    std::vector<float> x(count * WIDTH), logits(count * VOCABULARY);
    run_decoder(threads, embedding, layers, {0, LAYERS}, ropes, {norm.data(), 1e-5f}, head, step,
                ids.data(), x.data(), at.data(), count, logits.data(), space);
    return logits;
  }

  const std::vector<float> table;
  std::vector<float> norm, cos, sin;
  std::vector<std::unique_ptr<Matrix>> matrices;
  std::vector<Layer> layers;
  std::vector<std::vector<bf16>> keys, values;
  Weights head;
  Workspace space;
  const int32_t pages[HEAD_ROOM] = {2, 1};
};

}  // namespace

void test_decoder() {
  for (const NamedFormat& f : FORMATS) {
    const std::string name = std::string("decoder ") + f.name;
    const std::vector<float> whole = Model(f).step(0, TOKENS, 1);
    check::keep_hash(name, whole);
    check::that(std::isfinite(whole.back()), name + " is finite");
    check::that(check::same_bits(Model(f).step(0, TOKENS, 2), whole), name + " on two threads");
    for (int64_t size : {1, 7}) {
      Model model(f);
      std::vector<float> parts;
      for (int64_t begin = 0; begin < TOKENS; begin += size)
        for (const float x : model.step(begin, std::min(begin + size, TOKENS), 1))
          parts.push_back(x);
      check::that(check::same_bits(parts, whole), name + " by " + std::to_string(size));
    }
  }
}

void test_sampling() {
  constexpr int64_t ROWS = 6, MANY = 3000;
  const std::vector<float> logits = check::numbers(90, ROWS * MANY, 12);
  std::vector<Rule> rules;
  for (int i = 0; i < ROWS; i++)
    rules.push_back({.5f * float(i), 20 * i, 1 - .05 * i, .01 * i, .13 + .15 * i});
  std::vector<Drawn> drawn(ROWS);
  run_team(2, [&](Lane& lane) {
    draw(lane, logits.data(), ROWS, MANY, rules.data(), false, drawn.data());
  });
  std::vector<float> tokens;
  for (const Drawn& each : drawn) tokens.push_back(float(each.token));
  check::keep_hash("draws", tokens);
  std::vector<int64_t> asked(ROWS, 7), ids(ROWS * 5);
  std::vector<float> chosen(ROWS), best(ROWS * 5);
  run_team(1, [&](Lane& lane) {
    logprobs(lane, logits.data(), ROWS, MANY, asked.data(), 5, chosen.data(), best.data(),
             ids.data());
  });
  for (int64_t r = 0; r < ROWS; r++) {
    const float* row = logits.data() + r * MANY;
    double total = 0;
    for (int64_t i = 0; i < MANY; i++) total += std::exp(double(row[i]));
    check::that(std::fabs(chosen[r] - (row[7] - std::log(total))) < 1e-4, "a log-probability");
    check::that(tokens[0] == float(ids[0]), "temperature 0 draws the likeliest");
  }
}
