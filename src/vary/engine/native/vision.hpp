// The transformer blocks of the vision vocabulary network: windowed and global attention with decomposed relative
// positions, and a two-layer perceptron.  Compiled once for every kind of processor.
//
// What they compute of an image depends neither on the other images of a batch nor on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "aligned.hpp"
#include "threads.hpp"

namespace vary {
namespace vision {

// How products are computed.  Integers have a scale for each output of a matrix and one for each row that is
// multiplied with it, found as the row is there.  bfloat16 rounds inputs and weights of all products, attention's too,
// whose sums are float32; only processors with tiles (AMX) have it.
enum class Precision : int32_t { kFloat32 = 0, kInt16 = 1, kInt8 = 2, kBFloat16 = 3 };

struct Shape {
  Precision precision;
  int32_t hidden, inner, heads;
  float epsilon;
};

// y = x W^T + bias, packed by `pack`.
struct Matrix {
  int32_t outputs, inputs;
  const uint8_t* packed;
  const float* bias;
};

struct Norm {
  const float *weight, *bias;
};

struct Block {
  int32_t window;                  // 0: attention over the whole grid
  int32_t table_rows, table_columns;  // lengths of the tables: 2 L - 1 for an axis of L positions
  Norm norm1;
  Matrix qkv, out;
  const float *row_table, *column_table;  // (2 L - 1, head_dim), the largest distance first
  Norm norm2;
  Matrix expand, contract;
};

// y = W x + bias over (images, rows, columns, channels), zeros around; perhaps positive parts of it, or the norm of each
// `norm_size` outputs.  Of each image the first `valid_columns` columns are its own (null: all): others count as zeros,
// and what would be computed of them alone is zero.
struct Convolution {
  int32_t kernel;  // both ways; a border of half of it
  int32_t row_stride, column_stride;
  int32_t images, rows, columns, channels;  // of the input
  int32_t relu, norm_size;                  // norm_size 0: no norm
  float epsilon;
  Matrix matrix;  // its inputs: (kernel, kernel, channels); its bias is filled up to whole panels
  Norm norm;
  const int32_t* valid_columns;

  int output_rows() const { return (rows + row_stride - 1) / row_stride; }
  int output_columns() const { return (columns + column_stride - 1) / column_stride; }
};

// `images` grids of (rows, columns) tokens.  Of each image the first `valid_columns` columns are its own (null: all);
// attention over the whole grid sees no others, and their tokens come out as anything.
struct Grid {
  int32_t images, rows, columns;
  const int32_t* valid_columns;
  int64_t tokens() const { return static_cast<int64_t>(images) * rows * columns; }
};

struct Kernels {
  const char* name;
  // Whether this shape is computed by these kernels.
  bool (*takes)(const Shape& shape);
  size_t (*packed_bytes)(Precision precision, int outputs, int inputs);
  void (*pack)(Precision precision, int outputs, int inputs, const float* weights, uint8_t* packed);
  // tokens (images, rows, columns, hidden) through all blocks, in place.
  void (*run)(const Shape& shape, const Block* blocks, int count, const Grid& grid, float* tokens, Threads& threads);
  // input (images, rows, columns, channels) to (images, output rows, output columns, outputs), by a float matrix.
  void (*convolve)(const Convolution& convolution, const float* input, float* output, Threads& threads);
  // rows (count, inputs) times a float matrix: each one's largest output, and the log of its sum of exponentials.
  void (*survey)(const Matrix& matrix, const float* rows, int count, int32_t* best, float* totals, Threads& threads);
};

// Null where this processor, or this build, has none.
const Kernels* amx_kernels();     // tiles, beside AVX-512; for bfloat16
const Kernels* avx512_kernels();  // AVX-512 with VNNI
const Kernels* avx2_kernels();    // with FMA
const Kernels* neon_kernels();    // 64-bit ARM
const Kernels* plain_kernels();   // any processor

// The best ones that this processor runs for a precision, or those of a name; null where they do not run.
inline const Kernels* best_kernels(Precision precision, const char* name = "") {
  const Kernels* tiles = precision == Precision::kBFloat16 ? amx_kernels() : nullptr;
  for (const Kernels* kernels : {tiles, avx512_kernels(), avx2_kernels(), neon_kernels(), plain_kernels()})
    if (kernels != nullptr && (*name == 0 || std::strcmp(name, kernels->name) == 0)) return kernels;
  return nullptr;
}

}  // namespace vision
}  // namespace vary
