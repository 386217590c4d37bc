// How weights lie in memory: the same bytes for every kind of processor.
//
// A matrix (rows, columns) is cut into blocks of 16 rows; the last block is filled up with zeros.  In a block
// the columns follow each other, and of each column (or few columns) the 16 rows stand side by side, so that a
// vector of any width from 4 lanes to 16 holds different rows and never has to be added up across its lanes:
//
//   kFloat32, kBFloat16   of each column 16 values
//   kInt8                 of each 4 columns 64 bytes: row 0's four, row 1's four, ...
//   kInt4                 of each 8 columns 64 bytes: low nibbles as in kInt8 columns 0 to 3, high nibbles 4 to 7;
//                         a nibble is the value plus 8
//
// Integers come with one float16 scale for each row and group of columns: of each block, group after group, 16.
// The columns of integers are filled up with zeros to whole groups.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vary {

constexpr int kBlockRows = 16;
constexpr int kLargestGroup = 128;

enum class Kind : int32_t { kFloat32 = 0, kBFloat16 = 1, kInt8 = 2, kInt4 = 3 };

inline bool is_integer(Kind kind) { return kind == Kind::kInt8 || kind == Kind::kInt4; }

struct Matrix {
  Kind kind;
  int32_t rows, columns;  // as in the checkpoint, without what they are filled up with
  int32_t group;          // columns that share a scale; 0 for floats
  const uint8_t* values;
  const uint16_t* scales;  // float16 bits; null for floats

  int blocks() const { return (rows + kBlockRows - 1) / kBlockRows; }
  int groups() const { return group == 0 ? 0 : (columns + group - 1) / group; }
  int padded_columns() const { return group == 0 ? columns : groups() * group; }

  // Bytes of the values of one block.
  size_t block_bytes() const {
    const size_t cells = static_cast<size_t>(kBlockRows) * padded_columns();
    switch (kind) {
      case Kind::kFloat32: return cells * 4;
      case Kind::kBFloat16: return cells * 2;
      case Kind::kInt8: return cells;
      default: return cells / 2;
    }
  }
  size_t value_bytes() const { return block_bytes() * blocks(); }
  size_t scale_count() const { return static_cast<size_t>(blocks()) * groups() * kBlockRows; }
};

}  // namespace vary
