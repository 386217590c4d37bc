#include "pack.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "halves.hpp"

namespace vary {
namespace {

// Where the value of a row and column stands in its block, in bytes; for kInt4 the byte that holds the nibble.
size_t place(Kind kind, int row, int column) {
  switch (kind) {
    case Kind::kFloat32: return (static_cast<size_t>(column) * kBlockRows + row) * 4;
    case Kind::kBFloat16: return (static_cast<size_t>(column) * kBlockRows + row) * 2;
    case Kind::kInt8: return static_cast<size_t>(column / 4) * 64 + row * 4 + column % 4;
    default: return static_cast<size_t>(column / 8) * 64 + row * 4 + column % 4;
  }
}

struct Fit {
  float scale;
  double loss;
};

int to_integer(float value, int least, int most) {
  return std::min(most, std::max(least, static_cast<int>(std::lrintf(value))));
}

constexpr int kLanes = 8;  // running sums side by side, which the compiler turns into vectors

// The scale that fits the integers which `inverse` gives best, and what is lost with it.  Group and importance are
// filled up with zeros to whole lanes.
Fit fit(const float* group, const float* importance, int size, float inverse, int least, int most) {
  float products[kLanes]{}, squares[kLanes]{}, totals[kLanes]{};
  const float low = static_cast<float>(least), high = static_cast<float>(most);
  for (int k = 0; k < size; k += kLanes) {
    for (int lane = 0; lane < kLanes; lane++) {
      const float value = group[k + lane], weight = importance[k + lane];
      float rounded = value * inverse;
      rounded = rounded < low ? low : rounded;
      rounded = rounded > high ? high : rounded;
      rounded = (rounded + 12582912.0f) - 12582912.0f;  // 1.5 * 2^23: to the nearest whole number
      products[lane] += weight * value * rounded;
      squares[lane] += weight * rounded * rounded;
      totals[lane] += weight * value * value;
    }
  }
  double product = 0, square = 0, total = 0;
  for (int lane = 0; lane < kLanes; lane++) product += products[lane], square += squares[lane], total += totals[lane];
  if (square == 0) return {0.0f, total};
  const double scale = from_float16(to_float16(static_cast<float>(product / square)));
  return {static_cast<float>(scale), total - 2 * scale * product + scale * scale * square};
}

// The best scale of a group.
float best_scale(const float* group, const float* importance, int size, int tries, int least, int most) {
  float peak = 0;
  for (int k = 0; k < size; k++) peak = std::fabs(group[k]) > std::fabs(peak) ? group[k] : peak;
  if (peak == 0) return 0;
  // The largest value becomes the integer that is largest in size, so the scale may be negative.
  Fit best = fit(group, importance, size, least / peak, least, most);
  for (int step = 1; step <= tries; step++) {
    for (const float sign : {-1.0f, 1.0f}) {
      const float top = least * (1.0f + sign * 0.04f * static_cast<float>(step));
      const Fit other = fit(group, importance, size, top / peak, least, most);
      if (other.loss < best.loss) best = other;
    }
  }
  return best.scale;
}

void pack_group(const Matrix& matrix, const float* row, const float* importance, int start, int in_block, int tries,
                uint8_t* values, uint16_t* scale) {
  const int size = std::min(matrix.group, matrix.columns - start);
  const bool nibbles = matrix.kind == Kind::kInt4;
  const int least = nibbles ? -8 : -127, most = nibbles ? 7 : 127;
  float best = 0;
  if (row != nullptr) {
    float part[kLargestGroup]{}, weights[kLargestGroup]{};
    std::copy_n(row + start, size, part);
    if (importance == nullptr) std::fill_n(weights, size, 1.0f);
    else std::copy_n(importance + start, size, weights);
    best = best_scale(part, weights, matrix.group, tries, least, most);
  }
  *scale = to_float16(best);
  const float inverse = best == 0 ? 0.0f : 1.0f / best;
  for (int k = 0; k < matrix.group; k++) {
    const int value = row != nullptr && k < size ? to_integer(row[start + k] * inverse, least, most) : 0;
    uint8_t& cell = values[place(matrix.kind, in_block, start + k)];
    if (!nibbles) cell = static_cast<uint8_t>(value);
    else if (k % 8 < 4) cell = static_cast<uint8_t>((cell & 0xf0) | (value + 8));
    else cell = static_cast<uint8_t>((cell & 0x0f) | (value + 8) << 4);
  }
}

void pack_floats(const Matrix& matrix, const float* row, int in_block, uint8_t* values) {
  for (int k = 0; k < matrix.columns; k++) {
    const float value = row == nullptr ? 0.0f : row[k];
    const uint16_t half = to_bfloat16(value);
    if (matrix.kind == Kind::kFloat32) std::memcpy(values + place(matrix.kind, in_block, k), &value, 4);
    else std::memcpy(values + place(matrix.kind, in_block, k), &half, 2);
  }
}

}  // namespace

void pack(const Matrix& matrix, const float* weights, const float* importance, int tries, uint8_t* values,
          uint16_t* scales, Threads& threads) {
  threads.run(matrix.blocks(), [&](int block, int) {
    uint8_t* to = values + matrix.block_bytes() * block;
    for (int in_block = 0; in_block < kBlockRows; in_block++) {
      const int number = block * kBlockRows + in_block;
      const float* row = number < matrix.rows ? weights + static_cast<size_t>(number) * matrix.columns : nullptr;
      if (!is_integer(matrix.kind)) {
        pack_floats(matrix, row, in_block, to);
        continue;
      }
      for (int group = 0; group < matrix.groups(); group++) {
        uint16_t* scale = scales + (static_cast<size_t>(block) * matrix.groups() + group) * kBlockRows + in_block;
        pack_group(matrix, row, importance, group * matrix.group, in_block, tries, to, scale);
      }
    }
  });
}

void unpack(const Matrix& matrix, int first, int last, float* weights) {
  for (int number = first; number < last; number++) {
    const int block = number / kBlockRows, in_block = number % kBlockRows;
    const uint8_t* from = matrix.values + matrix.block_bytes() * block;
    for (int k = 0; k < matrix.columns; k++) {
      const uint8_t* cell = from + place(matrix.kind, in_block, k);
      float& value = weights[static_cast<size_t>(number - first) * matrix.columns + k];
      if (matrix.kind == Kind::kFloat32) {
        std::memcpy(&value, cell, 4);
      } else if (matrix.kind == Kind::kBFloat16) {
        uint16_t half;
        std::memcpy(&half, cell, 2);
        value = from_bfloat16(half);
      } else {
        const size_t group = static_cast<size_t>(block) * matrix.groups() + k / matrix.group;
        const float scale = from_float16(matrix.scales[group * kBlockRows + in_block]);
        const int integer = matrix.kind == Kind::kInt8 ? static_cast<int8_t>(*cell)
                                                       : (k % 8 < 4 ? *cell & 15 : *cell >> 4) - 8;
        value = static_cast<float>(integer) * scale;
      }
    }
  }
}

}  // namespace vary
