// Kernels for x86-64 processors with AVX2, FMA and F16C.
#include "aligned.hpp"
#include "kernels_list.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace vary {
namespace avx2 {

constexpr int kLanes = 8, kTile = 4;
constexpr int kHalves = 2;  // vectors of the 16 rows of a block
typedef float Floats __attribute__((vector_size(32)));
typedef int32_t Integers __attribute__((vector_size(32)));

static inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
static inline Floats largest(Floats a, Floats b) { return _mm256_max_ps(a, b); }
static inline Floats to_floats(Integers value) { return _mm256_cvtepi32_ps((__m256i)value); }
static inline Integers to_integers(Floats value) { return (Integers)_mm256_cvtps_epi32(value); }
static inline Floats absolute(Floats value) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), value); }
static inline Floats load_half(const uint16_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
static inline Floats load_bfloat16(const uint16_t* from) {
  return (Floats)((Integers)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))) << 16);
}
static inline void store_half(uint16_t* to, Floats value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
}
static inline void store_bytes(int8_t* to, Integers value) {
  const __m256i words = _mm256_packs_epi32((__m256i)value, (__m256i)value);
  const __m256i bytes = _mm256_packs_epi16(words, words);
  const int32_t low = _mm256_extract_epi32(bytes, 0), high = _mm256_extract_epi32(bytes, 4);
  std::memcpy(to, &low, 4);
  std::memcpy(to + 4, &high, 4);
}

static inline __m256i load_bytes(const uint8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// Four neighbouring integers of a row, in every lane.
static inline __m256i four(const int8_t* from) {
  int32_t bits;
  std::memcpy(&bits, from, 4);
  return _mm256_set1_epi32(bits);
}

// Keeps a running sum in its register: left alone, compilers put all additions off to the end of a loop, and store
// the many products until then.
static inline void settle(__m256i& sum) { asm("" : "+x"(sum)); }

// Adds up 32 columns of a block.
template <int kTokens>
static inline void add_nibbles(const uint8_t* values, const int8_t* integers, size_t stride,
                               __m256i (&sums)[kTokens][kHalves]) {
  const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  __m256i words[kTokens][kHalves];  // eight products of at most 2 * 15 * 127 fit into 16 bits
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) {
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; h++) {
      const __m256i bytes = load_bytes(values + 64 * j + 32 * h);
      const __m256i first = _mm256_and_si256(bytes, low);
      const __m256i second = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; t++) {
        const int8_t* from = integers + t * stride + 8 * j;
        const __m256i product = _mm256_maddubs_epi16(first, four(from));
        words[t][h] = j == 0 ? product : _mm256_add_epi16(words[t][h], product);
        words[t][h] = _mm256_add_epi16(words[t][h], _mm256_maddubs_epi16(second, four(from + 4)));
        settle(words[t][h]);
      }
    }
  }
  for (int t = 0; t < kTokens; t++)
    for (int h = 0; h < kHalves; h++)
      sums[t][h] = _mm256_add_epi32(sums[t][h], _mm256_madd_epi16(words[t][h], ones));
}

template <int kTokens>
static inline void add_bytes(const uint8_t* values, const int8_t* integers, size_t stride,
                             __m256i (&sums)[kTokens][kHalves]) {
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
  for (int j = 0; j < 8; j++) {
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; h++) {
      const __m256i bytes = load_bytes(values + 64 * j + 32 * h);
      const __m256i size = _mm256_abs_epi8(bytes);  // unsigned times signed: the sign goes over to the row
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; t++) {
        const __m256i signs = _mm256_sign_epi8(four(integers + t * stride + 4 * j), bytes);
        sums[t][h] = _mm256_add_epi32(sums[t][h], _mm256_madd_epi16(_mm256_maddubs_epi16(size, signs), ones));
        settle(sums[t][h]);
      }
    }
  }
}

constexpr int kAhead = 1024;  // bytes that are fetched before their turn, over the borders of pages too

template <int kTokens, bool kNibbles>
static inline void products_of(const Matrix& matrix, int block, const Rows& rows, int token,
                               float (*sums)[kBlockRows]) {
  const int group = matrix.group, groups = matrix.groups();
  const size_t stride = rows.stride, chunk = kNibbles ? 256 : 512;  // bytes of 32 columns
  const uint8_t* values = matrix.values + matrix.block_bytes() * block;
  const uint16_t* scales = matrix.scales + static_cast<size_t>(block) * groups * kBlockRows;
  const int8_t* integers = rows.integers + static_cast<size_t>(token) * stride;
  const float* row_scales = rows.scales + static_cast<size_t>(token) * rows.groups;
  const int32_t* corrections = rows.corrections + static_cast<size_t>(token) * rows.groups;
  Floats totals[kTokens][kHalves]{};
  for (int g = 0; g < groups; g++, scales += kBlockRows) {
    __m256i counts[kTokens][kHalves];
    for (int t = 0; t < kTokens; t++)
      for (int h = 0; h < kHalves; h++)
        counts[t][h] = kNibbles ? _mm256_set1_epi32(corrections[t * rows.groups + g]) : _mm256_setzero_si256();
    for (int k = 0; k < group; k += 32, values += chunk, integers += 32) {
      if (token == 0)  // later tiles find the block in the cache
        for (size_t line = 0; line < chunk; line += 64)
          _mm_prefetch(reinterpret_cast<const char*>(values + kAhead + line), _MM_HINT_T0);
      if (kNibbles) add_nibbles<kTokens>(values, integers, stride, counts);
      else add_bytes<kTokens>(values, integers, stride, counts);
    }
    for (int h = 0; h < kHalves; h++) {
      const Floats scale = load_half(scales + 8 * h);
      for (int t = 0; t < kTokens; t++)
        totals[t][h] = fma(to_floats((Integers)counts[t][h]), scale * row_scales[t * rows.groups + g], totals[t][h]);
    }
  }
  for (int t = 0; t < kTokens; t++)
    for (int h = 0; h < kHalves; h++) std::memcpy(sums[t] + 8 * h, &totals[t][h], 32);
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

const Kernels kKernels = {"AVX2", quantize, multiply, rms_norm, rotate, to_halves, attend};

}  // namespace avx2

const Kernels* avx2_kernels() {
  const bool runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  return runs ? &avx2::kKernels : nullptr;
}

}  // namespace vary

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

namespace vary {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace vary

#endif
