// Kernels in plain C++ for any processor; also what the others are tested against.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "halves.hpp"
#include "aligned.hpp"
#include "kernels_list.hpp"

namespace vary {
namespace plain {

constexpr int kLanes = 4, kTile = 4;
typedef float Floats __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(16)));

template <class Function>
static inline Floats each(Function function) {
  Floats result{};
  for (int lane = 0; lane < kLanes; lane++) result[lane] = function(lane);
  return result;
}

static inline Floats fma(Floats a, Floats b, Floats c) {
  return each([&](int lane) { return std::fma(a[lane], b[lane], c[lane]); });
}
static inline Floats largest(Floats a, Floats b) {
  return each([&](int lane) { return a[lane] > b[lane] ? a[lane] : b[lane]; });
}
static inline Floats absolute(Floats value) {
  return each([&](int lane) { return std::fabs(value[lane]); });
}
static inline Floats to_floats(Integers value) {
  return each([&](int lane) { return static_cast<float>(value[lane]); });
}
static inline Integers to_integers(Floats value) {
  Integers result{};
  for (int lane = 0; lane < kLanes; lane++) result[lane] = static_cast<int32_t>(std::lrintf(value[lane]));
  return result;
}
static inline Floats load_half(const uint16_t* from) {
  return each([&](int lane) { return from_float16(from[lane]); });
}
static inline Floats load_bfloat16(const uint16_t* from) {
  return each([&](int lane) { return from_bfloat16(from[lane]); });
}
static inline void store_half(uint16_t* to, Floats value) {
  for (int lane = 0; lane < kLanes; lane++) to[lane] = to_float16(value[lane]);
}
static inline void store_bytes(int8_t* to, Integers value) {
  for (int lane = 0; lane < kLanes; lane++) to[lane] = static_cast<int8_t>(value[lane]);
}

constexpr int integer_blocks(int) { return 1; }

template <int kTokens, int kBlocks>
static inline void integer_products(const Matrix& matrix, int block, const Rows& rows, int token,
                                    float (*sums)[kTokens][kBlockRows]) {
  static_assert(kBlocks == 1);
  const bool nibbles = matrix.kind == Kind::kInt4;
  const int groups = matrix.groups(), columns = nibbles ? 8 : 4;  // of 64 bytes
  for (int t = 0; t < kTokens; t++) {
    const uint8_t* values = matrix.values + matrix.block_bytes() * block;
    const uint16_t* scales = matrix.scales + static_cast<size_t>(block) * groups * kBlockRows;
    const int8_t* integers = rows.integers + static_cast<size_t>(token + t) * rows.stride;
    float totals[kBlockRows]{};
    for (int g = 0; g < groups; g++, scales += kBlockRows) {
      int32_t counts[kBlockRows]{};
      for (int k = 0; k < matrix.group; k += columns, values += 64, integers += columns) {
        for (int row = 0; row < kBlockRows; row++) {
          for (int i = 0; i < 4; i++) {
            const uint8_t cell = values[4 * row + i];
            if (nibbles) counts[row] += ((cell & 15) - 8) * integers[i] + ((cell >> 4) - 8) * integers[i + 4];
            else counts[row] += static_cast<int8_t>(cell) * integers[i];
          }
        }
      }
      const float scale = rows.scales[static_cast<size_t>(token + t) * rows.groups + g];
      for (int row = 0; row < kBlockRows; row++)
        totals[row] = std::fma(static_cast<float>(counts[row]), from_float16(scales[row]) * scale, totals[row]);
    }
    std::memcpy((*sums)[t], totals, sizeof totals);
  }
}

#include "kernels.inl"

const Kernels kKernels = {"plain C++", quantize, multiply, rms_norm, rotate, to_halves, attend};

}  // namespace plain

const Kernels* plain_kernels() { return &plain::kKernels; }

}  // namespace vary
