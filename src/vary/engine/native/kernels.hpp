// The arithmetic of a decoder, compiled once for every kind of processor; `best_kernels` chooses at run time.
//
// What they compute of a token does not depend on how many tokens they are given at once: every sum is added up
// in an order of its own, and integers are exact.  So a token's scores are the same bits in any company.
#pragma once

#include <cstddef>
#include <cstdint>

#include "matrix.hpp"

namespace vary {

// The rows that a matrix is multiplied with, one a token.  Float matrices take `floats`, (tokens, stride);
// integer ones `integers` (tokens, stride) with a scale for each token and group, and eight times the sum of
// the group's integers, negative: what the nibbles' offset adds too much.
struct Rows {
  const float* floats;
  const int8_t* integers;
  const float* scales;
  const int32_t* corrections;
  int stride, groups;
};

// What becomes of a product (tokens, rows).
enum class Then {
  kStore,   // output = product + bias
  kAdd,     // output += product
  kSwiGlu,  // blocks 2i and 2i + 1 hold gates and values: output block i = silu(gates) * values
};

struct Output {
  Then then;
  float* values;  // (tokens, size)
  int size;       // what lies beyond it in the last block is filling and is dropped
  const float* bias;  // or null
};

// The keys and values of one head in one layer: blocks of `block` positions, (block, head_dim) float16, or where they
// are `wide` float32.
struct Past {
  const uint16_t* const* keys;
  const uint16_t* const* values;
  int block;
  bool wide;
};

struct Kernels {
  const char* name;
  // One row of `columns` floats to integers; the row is filled up to whole groups.
  void (*quantize)(const float* row, int columns, int group, int8_t* integers, float* scales, int32_t* corrections);
  // Blocks first .. last - 1 of matrix @ rows; with kSwiGlu both are even.
  void (*multiply)(const Matrix& matrix, const Rows& rows, int tokens, int first, int last, const Output& output);
  void (*rms_norm)(const float* row, const float* weight, int size, float epsilon, float* output);
  // Turns each head's halves: (a, b) to (a cos - b sin, b cos + a sin); in place.
  void (*rotate)(float* heads, int count, int head_dim, const float* cosines, const float* sines);
  void (*to_halves)(const float* values, int count, uint16_t* halves);
  // `count` queries (count, stride), at most kQueries, of which the i-th sees the first seen[i] positions, each at
  // least as many as the one before.  scratch holds kQueries rows of the last of seen, rounded up to 16.  head_dim
  // is a multiple of 32.
  void (*attend)(const Past& past, const float* queries, int stride, int count, const int* seen, int head_dim,
                 float* scratch, float* output, int output_stride);
};

constexpr int kQueries = 4;

// The fastest that this processor runs, or those of that name; null if it does not run them.
const Kernels* best_kernels(const char* name);

}  // namespace vary
