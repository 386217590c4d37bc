// Compares the kernels of the vision vocabulary network of a name with the plain ones on random numbers; prints what
// differs, and returns 1 then.  Floats within rounding; integers within that of their scales, which differ where a
// processor has other products of bytes; bfloat16, which the plain ones do not have, within its rounding of their
// float32.
#include <cmath>
#include <string>
#include <vector>

#include "comparison.hpp"
#include "vision.hpp"

namespace {

using namespace vary::vision;

// The norm of the difference over that of what is expected.
double distance(const std::vector<float>& found, const std::vector<float>& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < found.size(); i++) {
    difference += std::pow(double(found[i]) - expected[i], 2);
    size += std::pow(double(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

// A matrix as a set of kernels packs it.
struct Packed {
  std::vector<uint8_t> bytes;
  Matrix matrix;
};

struct Weights {
  int outputs, inputs;
  std::vector<float> values, bias;

  Weights(int outputs, int inputs)
      : outputs(outputs), inputs(inputs), values(numbers(size_t(outputs) * inputs, 1 / std::sqrt(float(inputs)))),
        bias(numbers((outputs + 15) / 16 * 16)) {}

  Packed pack(const Kernels& kernels, Precision precision) const {
    Packed packed{std::vector<uint8_t>(kernels.packed_bytes(precision, outputs, inputs)), {}};
    kernels.pack(precision, outputs, inputs, values.data(), packed.bytes.data());
    packed.matrix = {outputs, inputs, packed.bytes.data(), bias.data()};
    return packed;
  }
};

struct BlockWeights {
  int window, rows, columns;
  std::vector<float> norms, row_table, column_table;
  Weights qkv, out, expand, contract;

  BlockWeights(int hidden, int inner, int head_dim, int window, const Grid& grid)
      : window(window), rows(2 * (window ? window : grid.rows) - 1), columns(2 * (window ? window : grid.columns) - 1),
        norms(numbers(4 * hidden)), row_table(numbers(size_t(rows + 15) / 16 * 16 * head_dim, 0.2f)),
        column_table(numbers(size_t(columns + 15) / 16 * 16 * head_dim, 0.2f)), qkv(3 * hidden, hidden),
        out(hidden, hidden), expand(inner, hidden), contract(hidden, inner) {}
};

std::vector<float> run(const Kernels& kernels, const Shape& shape, const std::vector<BlockWeights>& weights,
                       const Grid& grid, std::vector<float> tokens) {
  std::vector<Packed> packed;
  for (const BlockWeights& one : weights)
    for (const Weights* matrix : {&one.qkv, &one.out, &one.expand, &one.contract})
      packed.push_back(matrix->pack(kernels, shape.precision));
  std::vector<Block> blocks;
  for (size_t i = 0; i < weights.size(); i++) {
    const BlockWeights& one = weights[i];
    const float* norms = one.norms.data();
    const Packed* of = &packed[4 * i];
    blocks.push_back({one.window, one.rows, one.columns, {norms, norms + shape.hidden}, of[0].matrix, of[1].matrix,
                      one.row_table.data(), one.column_table.data(),
                      {norms + 2 * shape.hidden, norms + 3 * shape.hidden}, of[2].matrix, of[3].matrix});
  }
  vary::Threads threads(2);
  kernels.run(shape, blocks.data(), static_cast<int>(blocks.size()), grid, tokens.data(), threads);
  return tokens;
}

// How precisely kernels compute, and how far from what the plain ones do.
struct Manner {
  Precision precision, plain;
  double most;
};

void compare_networks(const Kernels& kernels, const Kernels& plain, int inner, const std::vector<Manner>& manners) {
  constexpr int kHeads = 2, kDim = 32, kHidden = kHeads * kDim;
  const int32_t valid[] = {5, 17, 32};
  struct Case { Grid grid; int window; };
  const Case cases[] = {{{1, 9, 11, nullptr}, 4}, {{2, 17, 34, nullptr}, 0}, {{3, 2, 32, valid}, 0}};
  for (const Case& one : cases) {
    const std::vector<float> tokens = numbers(one.grid.tokens() * kHidden);
    std::vector<BlockWeights> weights;
    for (int i = 0; i < 2; i++) weights.emplace_back(kHidden, inner, kDim, i ? 0 : one.window, one.grid);
    for (const Manner& manner : manners) {
      const Shape shape{manner.precision, kHidden, inner, kHeads, 1e-6f};
      const Shape plain_shape{manner.plain, kHidden, inner, kHeads, 1e-6f};
      expect(kernels.takes(shape) && plain.takes(plain_shape), "takes");
      std::vector<float> found = run(kernels, shape, weights, one.grid, tokens);
      std::vector<float> expected = run(plain, plain_shape, weights, one.grid, tokens);
      for (int64_t token = 0; token < one.grid.tokens(); token++)  // others come out as anything
        if (one.grid.valid_columns && token % one.grid.columns >= valid[token / one.grid.columns / one.grid.rows])
          for (int i = 0; i < kHidden; i++) found[token * kHidden + i] = expected[token * kHidden + i] = 0;
      const double apart = distance(found, expected);
      expect(apart < manner.most, "network of " + std::to_string(one.grid.columns) + " columns, precision " +
                                      std::to_string(int(manner.precision)) + ": " + std::to_string(apart));
    }
  }
}

void compare_convolutions(const Kernels& kernels, const Kernels& plain) {
  const int32_t valid[] = {21, 8};
  const std::vector<float> norms = numbers(2 * 48);
  for (const int outputs : {24, 48, 96}) {
    for (const int norm : {0, 48}) {
      for (const int kernel : {1, 3}) {
        if (norm && outputs % norm) continue;
        Convolution layer{kernel, kernel == 3 ? 2 : 1, 1, 2, 7, 21, 16, norm == 0, norm, 1e-6f, {},
                          {norms.data(), norms.data() + 48}, valid};
        const Weights weights(outputs, kernel * kernel * 16);
        const std::vector<float> input = numbers(size_t(2) * 7 * 21 * 16);
        std::vector<float> results[2];
        for (int i = 0; i < 2; i++) {
          const Kernels& own = i ? plain : kernels;
          const Packed packed = weights.pack(own, Precision::kFloat32);
          layer.matrix = packed.matrix;
          results[i].resize(size_t(2) * layer.output_rows() * layer.output_columns() * outputs, -1);
          vary::Threads threads(2);
          own.convolve(layer, input.data(), results[i].data(), threads);
        }
        expect(distance(results[0], results[1]) < 2e-6,
               "convolution to " + std::to_string(outputs) + " channels, kernel " + std::to_string(kernel));
      }
    }
  }
}

void compare_surveys(const Kernels& kernels, const Kernels& plain) {
  for (const int inputs : {32, 416}) {
    Weights weights(77, inputs);
    for (size_t i = 77; i < weights.bias.size(); i++) weights.bias[i] = -1e30f;
    const std::vector<float> rows = numbers(size_t(101) * inputs);
    std::vector<int32_t> best[2];
    std::vector<float> totals[2];
    for (int i = 0; i < 2; i++) {
      Packed packed = weights.pack(i ? plain : kernels, Precision::kFloat32);
      packed.matrix.outputs = static_cast<int32_t>(weights.bias.size());
      best[i].resize(101);
      totals[i].resize(101);
      vary::Threads threads(2);
      (i ? plain : kernels).survey(packed.matrix, rows.data(), 101, best[i].data(), totals[i].data(), threads);
    }
    expect(best[0] == best[1], "the largest scores of " + std::to_string(inputs) + " inputs");
    expect(distance(totals[0], totals[1]) < 2e-6, "totals of " + std::to_string(inputs) + " inputs");
  }
}

}  // namespace

int main(int, char** arguments) {
  const char* name = arguments[1];
  const std::vector<Manner> tiles = {{Precision::kBFloat16, Precision::kFloat32, 5e-3}};
  const std::vector<Manner> vectors = {{Precision::kFloat32, Precision::kFloat32, 2e-6},
                                       {Precision::kInt16, Precision::kInt16, 3e-3},
                                       {Precision::kInt8, Precision::kInt8, 3e-2}};
  const bool has_tiles = std::string(name) == "AMX";
  const auto* compared = best_kernels(has_tiles ? Precision::kBFloat16 : Precision::kFloat32, name);
  return compare_with_plain(name, compared, best_kernels(Precision::kFloat32, "plain C++"),
                            [&](const Kernels& kernels, const Kernels& plain) {
                              compare_networks(kernels, plain, has_tiles ? 416 : 400, has_tiles ? tiles : vectors);
                              compare_convolutions(kernels, plain);
                              compare_surveys(kernels, plain);
                            });
}
