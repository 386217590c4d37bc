// The kernels in terms of AVX-512 (F, BW, VL) and its vector neural network instructions; included inside a namespace.

constexpr int kLanes = 16, kTile = 8;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Integers __attribute__((vector_size(64)));

static inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
static inline Floats largest(Floats a, Floats b) { return _mm512_max_ps(a, b); }
static inline Floats to_floats(Integers value) { return _mm512_cvtepi32_ps((__m512i)value); }
static inline Integers to_integers(Floats value) { return (Integers)_mm512_cvtps_epi32(value); }
static inline Floats absolute(Floats value) { return _mm512_abs_ps(value); }
static inline Floats load_half(const uint16_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
static inline Floats load_bfloat16(const uint16_t* from) {
  return (Floats)((Integers)_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))) << 16);
}
static inline void store_half(uint16_t* to, Floats value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
}
static inline void store_bytes(int8_t* to, Integers value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8((__m512i)value));
}

// Four neighbouring integers of a row, in every lane.
static inline __m512i four(const int8_t* from) {
  int32_t bits;
  std::memcpy(&bits, from, 4);
  return _mm512_set1_epi32(bits);
}

constexpr int kAhead = 2048;  // bytes that are fetched before their turn, over the borders of pages too

// Blocks of integers at a time: with few tokens the sums of one would wait for each other, and not for memory.
constexpr int integer_blocks(int tokens) { return tokens <= 2 ? 4 : tokens <= 4 ? 2 : 1; }

template <int kTokens, int kBlocks, bool kNibbles>
static inline void products_of(const Matrix& matrix, int block, const Rows& rows, int token,
                               float (*sums)[kTokens][kBlockRows]) {
  const int groups = matrix.groups(), columns = kNibbles ? 8 : 4;  // of 64 bytes
  const size_t stride = rows.stride, pitch = matrix.block_bytes(), scale_pitch = static_cast<size_t>(groups) * kBlockRows;
  const uint8_t* values = matrix.values + pitch * block;
  const uint16_t* scales = matrix.scales + scale_pitch * block;
  const int8_t* integers = rows.integers + static_cast<size_t>(token) * stride;
  const float* row_scales = rows.scales + static_cast<size_t>(token) * rows.groups;
  const int32_t* corrections = rows.corrections + static_cast<size_t>(token) * rows.groups;
  const __m512i low = _mm512_set1_epi8(15);
  Floats totals[kBlocks][kTokens]{};
  for (int g = 0; g < groups; g++, scales += kBlockRows) {
    __m512i counts[kBlocks][kTokens];
    for (int b = 0; b < kBlocks; b++)
      for (int t = 0; t < kTokens; t++)
        counts[b][t] = kNibbles ? _mm512_set1_epi32(corrections[t * rows.groups + g]) : _mm512_setzero_si512();
    for (int k = 0; k < matrix.group; k += columns, values += 64, integers += columns) {
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; b++) {
        const uint8_t* from = values + b * pitch;
        if (token == 0) _mm_prefetch(reinterpret_cast<const char*>(from + kAhead), _MM_HINT_T0);
        const __m512i bytes = _mm512_loadu_si512(from);
        if (kNibbles) {
          const __m512i first = _mm512_and_si512(bytes, low);
          const __m512i second = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low);
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; t++) {
            counts[b][t] = _mm512_dpbusd_epi32(counts[b][t], first, four(integers + t * stride));
            counts[b][t] = _mm512_dpbusd_epi32(counts[b][t], second, four(integers + t * stride + 4));
          }
        } else {
          const __m512i size = _mm512_abs_epi8(bytes);  // unsigned times signed: the sign goes over to the row
          const __mmask64 negative = _mm512_movepi8_mask(bytes);
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; t++) {
            const __m512i row = four(integers + t * stride);
            const __m512i signs = _mm512_mask_sub_epi8(row, negative, _mm512_setzero_si512(), row);
            counts[b][t] = _mm512_dpbusd_epi32(counts[b][t], size, signs);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; b++) {
      const Floats scale = load_half(scales + b * scale_pitch);
      for (int t = 0; t < kTokens; t++)
        totals[b][t] = fma(to_floats((Integers)counts[b][t]), scale * row_scales[t * rows.groups + g], totals[b][t]);
    }
  }
  for (int b = 0; b < kBlocks; b++)
    for (int t = 0; t < kTokens; t++) std::memcpy(sums[b][t], &totals[b][t], 64);
}

template <int kTokens, int kBlocks>
static inline void integer_products(const Matrix& matrix, int block, const Rows& rows, int token,
                                    float (*sums)[kTokens][kBlockRows]) {
  if (matrix.kind == Kind::kInt4) products_of<kTokens, kBlocks, true>(matrix, block, rows, token, sums);
  else products_of<kTokens, kBlocks, false>(matrix, block, rows, token, sums);
}

#include "kernels.inl"
