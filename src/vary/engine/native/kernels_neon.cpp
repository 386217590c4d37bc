// Kernels for 64-bit ARM processors with dot products of bytes (ARMv8.2 and later, all of Apple's).
#include "aligned.hpp"
#include "kernels_list.hpp"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(__aarch64__)

#include <arm_neon.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace vary {
namespace neon {

constexpr int kLanes = 4, kTile = 4;
typedef float32x4_t Floats;
typedef int32x4_t Integers;

static inline Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
static inline Floats largest(Floats a, Floats b) { return vmaxq_f32(a, b); }
static inline Floats to_floats(Integers value) { return vcvtq_f32_s32(value); }
static inline Integers to_integers(Floats value) { return vcvtnq_s32_f32(value); }
static inline Floats absolute(Floats value) { return vabsq_f32(value); }
static inline Floats load_half(const uint16_t* from) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
}
static inline Floats load_bfloat16(const uint16_t* from) {
  return (Floats)vshll_n_u16(vld1_u16(from), 16);
}
static inline void store_half(uint16_t* to, Floats value) {
  vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(value)));
}
static inline void store_bytes(int8_t* to, Integers value) {
  const int16x4_t words = vqmovn_s32(value);
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
  vst1_lane_s32(reinterpret_cast<int32_t*>(to), vreinterpret_s32_s8(bytes), 0);
}

// Four neighbouring integers of a row, in every lane.
static inline int8x16_t four(const int8_t* from) {
  return vreinterpretq_s8_s32(vld1q_dup_s32(reinterpret_cast<const int32_t*>(from)));
}

constexpr int kParts = 4;  // vectors of the 16 rows of a block

template <int kTokens, bool kNibbles>
static inline void products_of(const Matrix& matrix, int block, const Rows& rows, int token,
                               float (*sums)[kBlockRows]) {
  const int groups = matrix.groups(), columns = kNibbles ? 8 : 4;  // of 64 bytes
  const size_t stride = rows.stride;
  const uint8_t* values = matrix.values + matrix.block_bytes() * block;
  const uint16_t* scales = matrix.scales + static_cast<size_t>(block) * groups * kBlockRows;
  const int8_t* integers = rows.integers + static_cast<size_t>(token) * stride;
  const float* row_scales = rows.scales + static_cast<size_t>(token) * rows.groups;
  const uint8x16_t low = vdupq_n_u8(15);
  const int8x16_t eight = vdupq_n_s8(8);
  Floats totals[kTokens][kParts]{};
  for (int g = 0; g < groups; g++, scales += kBlockRows) {
    Integers counts[kTokens][kParts]{};
    for (int k = 0; k < matrix.group; k += columns, values += 64, integers += columns) {
      for (int p = 0; p < kParts; p++) {
        const uint8x16_t bytes = vld1q_u8(values + 16 * p);
        if (kNibbles) {
          const int8x16_t first = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(bytes, low)), eight);
          const int8x16_t second = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4)), eight);
          for (int t = 0; t < kTokens; t++) {
            counts[t][p] = vdotq_s32(counts[t][p], first, four(integers + t * stride));
            counts[t][p] = vdotq_s32(counts[t][p], second, four(integers + t * stride + 4));
          }
        } else {
          for (int t = 0; t < kTokens; t++)
            counts[t][p] = vdotq_s32(counts[t][p], vreinterpretq_s8_u8(bytes), four(integers + t * stride));
        }
      }
    }
    for (int p = 0; p < kParts; p++) {
      const Floats scale = load_half(scales + 4 * p);
      for (int t = 0; t < kTokens; t++)
        totals[t][p] = fma(to_floats(counts[t][p]), scale * row_scales[t * rows.groups + g], totals[t][p]);
    }
  }
  for (int t = 0; t < kTokens; t++)
    for (int p = 0; p < kParts; p++) vst1q_f32(sums[t] + 4 * p, totals[t][p]);
}

constexpr int integer_blocks(int) { return 1; }

template <int kTokens, int kBlocks>
static inline void integer_products(const Matrix& matrix, int block, const Rows& rows, int token,
                                    float (*sums)[kTokens][kBlockRows]) {
  static_assert(kBlocks == 1);
  if (matrix.kind == Kind::kInt4) products_of<kTokens, true>(matrix, block, rows, token, *sums);
  else products_of<kTokens, false>(matrix, block, rows, token, *sums);
}

#include "kernels.inl"

const Kernels kKernels = {"NEON", quantize, multiply, rms_norm, rotate, to_halves, attend};

}  // namespace neon

const Kernels* neon_kernels() {
#if defined(__linux__)
  constexpr unsigned long kDotProducts = 1ul << 20;  // HWCAP_ASIMDDP
  if ((getauxval(AT_HWCAP) & kDotProducts) == 0) return nullptr;
#elif !defined(__APPLE__)
  return nullptr;
#endif
  return &neon::kKernels;
}

}  // namespace vary

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

namespace vary {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace vary

#endif
