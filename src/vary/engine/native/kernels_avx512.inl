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

template <int kTokens, bool kNibbles>
static inline void products_of(const Matrix& matrix, int block, const Rows& rows, int token,
                               float (*sums)[kBlockRows]) {
  const int groups = matrix.groups(), columns = kNibbles ? 8 : 4;  // of 64 bytes
  const size_t stride = rows.stride;
  const uint8_t* values = matrix.values + matrix.block_bytes() * block;
  const uint16_t* scales = matrix.scales + static_cast<size_t>(block) * groups * kBlockRows;
  const int8_t* integers = rows.integers + static_cast<size_t>(token) * stride;
  const float* row_scales = rows.scales + static_cast<size_t>(token) * rows.groups;
  const int32_t* corrections = rows.corrections + static_cast<size_t>(token) * rows.groups;
  const __m512i low = _mm512_set1_epi8(15);
  Floats totals[kTokens]{};
  for (int g = 0; g < groups; g++, scales += kBlockRows) {
    __m512i counts[kTokens];
    for (int t = 0; t < kTokens; t++)
      counts[t] = kNibbles ? _mm512_set1_epi32(corrections[t * rows.groups + g]) : _mm512_setzero_si512();
    for (int k = 0; k < matrix.group; k += columns, values += 64, integers += columns) {
      if (token == 0) _mm_prefetch(reinterpret_cast<const char*>(values + kAhead), _MM_HINT_T0);
      const __m512i bytes = _mm512_loadu_si512(values);
      if (kNibbles) {
        const __m512i first = _mm512_and_si512(bytes, low);
        const __m512i second = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low);
        for (int t = 0; t < kTokens; t++) {
          counts[t] = _mm512_dpbusd_epi32(counts[t], first, four(integers + t * stride));
          counts[t] = _mm512_dpbusd_epi32(counts[t], second, four(integers + t * stride + 4));
        }
      } else {
        const __m512i size = _mm512_abs_epi8(bytes);  // unsigned times signed: the sign goes over to the row
        const __mmask64 negative = _mm512_movepi8_mask(bytes);
        for (int t = 0; t < kTokens; t++) {
          const __m512i row = four(integers + t * stride);
          const __m512i signs = _mm512_mask_sub_epi8(row, negative, _mm512_setzero_si512(), row);
          counts[t] = _mm512_dpbusd_epi32(counts[t], size, signs);
        }
      }
    }
    const Floats scale = load_half(scales);
    for (int t = 0; t < kTokens; t++)
      totals[t] = fma(to_floats((Integers)counts[t]), scale * row_scales[t * rows.groups + g], totals[t]);
  }
  for (int t = 0; t < kTokens; t++) std::memcpy(sums[t], &totals[t], 64);
}

template <int kTokens>
static inline void integer_products(const Matrix& matrix, int block, const Rows& rows, int token,
                                    float (*sums)[kBlockRows]) {
  if (matrix.kind == Kind::kInt4) products_of<kTokens, true>(matrix, block, rows, token, sums);
  else products_of<kTokens, false>(matrix, block, rows, token, sums);
}

#include "kernels.inl"
