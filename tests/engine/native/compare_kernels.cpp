// Compares the kernels of a name with the plain ones on random numbers; prints what differs, and returns 1 then.
// Integers and products of matrices must be the same bits; norms, turns and attention within rounding.
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "comparison.hpp"
#include "halves.hpp"
#include "kernels.hpp"
#include "pack.hpp"

namespace {

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

bool close(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); i++)
    if (!(std::fabs(a[i] - b[i]) <= 2e-5f * (1 + std::fabs(b[i])))) return false;
  return a.size() == b.size();
}

struct Quantized {
  std::vector<int8_t> integers;
  std::vector<float> scales;
  std::vector<int32_t> corrections;
};

Quantized quantize(const vary::Kernels& kernels, const vary::Matrix& matrix, const std::vector<float>& input,
                   int tokens) {
  const int stride = matrix.padded_columns(), groups = matrix.groups();
  Quantized rows{std::vector<int8_t>(static_cast<size_t>(tokens) * stride),
                 std::vector<float>(static_cast<size_t>(tokens) * groups),
                 std::vector<int32_t>(static_cast<size_t>(tokens) * groups)};
  if (vary::is_integer(matrix.kind))
    for (int token = 0; token < tokens; token++)
      kernels.quantize(&input[static_cast<size_t>(token) * matrix.columns], matrix.columns, matrix.group,
                       &rows.integers[static_cast<size_t>(token) * stride],
                       &rows.scales[static_cast<size_t>(token) * groups],
                       &rows.corrections[static_cast<size_t>(token) * groups]);
  return rows;
}

std::vector<float> multiply(const vary::Kernels& kernels, const vary::Matrix& matrix,
                            const std::vector<float>& input, const Quantized& rows, int tokens, vary::Then then) {
  const int size = then == vary::Then::kSwiGlu ? matrix.rows / 2 - 3 : matrix.rows;  // as if filled up
  std::vector<float> output(static_cast<size_t>(tokens) * size, 0.5f), bias(size, 0.25f);
  const vary::Rows all{input.data(), rows.integers.data(), rows.scales.data(), rows.corrections.data(),
                       matrix.padded_columns(), matrix.groups()};
  const vary::Output to{then, output.data(), size, then == vary::Then::kStore ? bias.data() : nullptr};
  kernels.multiply(matrix, all, tokens, 0, 2, to);  // as two threads share it
  kernels.multiply(matrix, all, tokens, 2, matrix.blocks(), to);
  return output;
}

void compare_matrices(const vary::Kernels& kernels, const vary::Kernels& plain) {
  vary::Threads threads(1);
  for (const vary::Kind kind :
       {vary::Kind::kFloat32, vary::Kind::kBFloat16, vary::Kind::kInt8, vary::Kind::kInt4}) {
    for (const int group : {32, 64, 128}) {
      if (!vary::is_integer(kind) && group != 32) continue;
      for (const auto& [size, columns] : {std::pair{192, 64}, {192, 200}, {200, 200}}) {
        vary::Matrix matrix{kind, size, columns, vary::is_integer(kind) ? group : 0, nullptr, nullptr};
        const std::vector<float> weights = numbers(static_cast<size_t>(matrix.rows) * columns);
        std::vector<uint8_t> values(matrix.value_bytes());
        std::vector<uint16_t> scales(matrix.scale_count() + 1);
        vary::pack(matrix, weights.data(), nullptr, 2, values.data(), scales.data(), threads);
        matrix.values = values.data();
        matrix.scales = scales.data();
        for (const int tokens : {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 24, 45}) {
          const std::string what = "kind " + std::to_string(static_cast<int>(kind)) + " group " +
                                   std::to_string(group) + " rows " + std::to_string(size) + " columns " + std::to_string(columns) + " tokens " +
                                   std::to_string(tokens);
          const std::vector<float> input = numbers(static_cast<size_t>(tokens) * columns);
          const Quantized rows = quantize(kernels, matrix, input, tokens);
          const Quantized expected = quantize(plain, matrix, input, tokens);
          expect(same(rows.integers, expected.integers) && same(rows.scales, expected.scales) &&
                     same(rows.corrections, expected.corrections),
                 "quantize, " + what);
          for (const vary::Then then : {vary::Then::kStore, vary::Then::kAdd})
            expect(same(multiply(kernels, matrix, input, expected, tokens, then),
                        multiply(plain, matrix, input, expected, tokens, then)),
                   "multiply, " + what);
          if (matrix.blocks() % 2 != 0) continue;  // gates and values come in pairs
          expect(close(multiply(kernels, matrix, input, expected, tokens, vary::Then::kSwiGlu),
                       multiply(plain, matrix, input, expected, tokens, vary::Then::kSwiGlu)),
                 "multiply with SwiGLU, " + what);
        }
      }
    }
  }
}

void compare_rows(const vary::Kernels& kernels, const vary::Kernels& plain) {
  for (const int size : {32, 100, 192}) {
    const std::vector<float> row = numbers(size), weight = numbers(size);
    std::vector<float> a(size), b(size);
    kernels.rms_norm(row.data(), weight.data(), size, 1e-6f, a.data());
    plain.rms_norm(row.data(), weight.data(), size, 1e-6f, b.data());
    expect(close(a, b), "rms_norm of " + std::to_string(size));
  }
  for (const int head_dim : {32, 64, 96, 128}) {
    const std::vector<float> cosines = numbers(head_dim / 2), sines = numbers(head_dim / 2);
    std::vector<float> a = numbers(3 * head_dim), b = a;
    kernels.rotate(a.data(), 3, head_dim, cosines.data(), sines.data());
    plain.rotate(b.data(), 3, head_dim, cosines.data(), sines.data());
    expect(close(a, b), "rotate heads of " + std::to_string(head_dim));
  }
  std::vector<float> values = numbers(64);
  values[0] = 1e6f, values[1] = -1e6f, values[2] = 1e-7f, values[3] = 65504.0f;
  std::vector<uint16_t> a(64), b(64);
  kernels.to_halves(values.data(), 64, a.data());
  plain.to_halves(values.data(), 64, b.data());
  expect(same(a, b), "to_halves");
}

void compare_attention(const vary::Kernels& kernels, const vary::Kernels& plain) {
  constexpr int kBlock = 16, kBlocks = 5;
  for (const int head_dim : {32, 64, 128}) {
    std::vector<std::vector<uint16_t>> halves;
    std::vector<const uint16_t*> keys, past;
    for (int i = 0; i < 2 * kBlocks; i++) {
      halves.emplace_back(static_cast<size_t>(kBlock) * head_dim);
      for (uint16_t& half : halves.back()) half = vary::to_float16(numbers(1)[0]);
    }
    for (int i = 0; i < kBlocks; i++) keys.push_back(halves[i].data()), past.push_back(halves[kBlocks + i].data());
    const std::vector<float> queries = numbers(static_cast<size_t>(vary::kQueries) * head_dim);
    for (int count = 1; count <= vary::kQueries; count++) {
      for (const int first : {1, 15, 16, 17, 60}) {
        int seen[vary::kQueries];
        for (int i = 0; i < count; i++) seen[i] = first + i;
        std::vector<float> scratch(static_cast<size_t>(vary::kQueries) * kBlock * kBlocks);
        std::vector<float> a(static_cast<size_t>(count) * head_dim), b(a);
        kernels.attend({keys.data(), past.data(), kBlock}, queries.data(), head_dim, count, seen, head_dim,
                       scratch.data(), a.data(), head_dim);
        plain.attend({keys.data(), past.data(), kBlock}, queries.data(), head_dim, count, seen, head_dim,
                     scratch.data(), b.data(), head_dim);
        expect(close(a, b), "attend, head_dim " + std::to_string(head_dim) + " queries " + std::to_string(count) +
                                " seen " + std::to_string(first));
      }
    }
  }
}

}  // namespace

int main(int, char** arguments) {
  using vary::best_kernels;
  const char* name = arguments[1];
  return compare_with_plain(name, best_kernels(name), best_kernels("plain C++"),
                            [](const vary::Kernels& kernels, const vary::Kernels& plain) {
                              compare_matrices(kernels, plain);
                              compare_rows(kernels, plain);
                              compare_attention(kernels, plain);
                            });
}
