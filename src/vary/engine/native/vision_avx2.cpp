// The vision vocabulary network on x86-64 processors with AVX2 and FMA.
#include "vision.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace vary {
namespace vision {
namespace avx2 {

constexpr int kLanes = 8, kTileRows = 6;
// Two products of an unsigned byte and a weight are added in 16 bits: 2 * 255 * 63 is the most that fits.
constexpr int kByteWeights = 63, kByteOffset = 128;
typedef float Floats __attribute__((vector_size(32)));
typedef int32_t Integers __attribute__((vector_size(32)));

static inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
static inline Floats largest(Floats a, Floats b) { return _mm256_max_ps(a, b); }
static inline Floats absolute(Floats value) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), value); }
static inline Floats rounded(Floats value) {
  return _mm256_round_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// For what is not read soon; other threads may read it after `finish_stores`.
static inline void store_past_caches(float* to, Floats value) { _mm256_stream_ps(to, value); }
static inline void finish_stores() { _mm_sfence(); }
static inline Floats to_floats(Integers value) { return _mm256_cvtepi32_ps((__m256i)value); }
static inline Integers to_integers(Floats value) { return (Integers)_mm256_cvtps_epi32(value); }
static inline Integers same(int32_t word) { return (Integers)_mm256_set1_epi32(word); }
static inline Floats times_power_of_two(Floats value, Floats power) {
  return (Floats)((Integers)value + (Integers)_mm256_slli_epi32((__m256i)to_integers(power), 23));
}
static inline Integers add_pairs(Integers sum, Integers input, Integers weight) {
  return sum + (Integers)_mm256_madd_epi16((__m256i)input, (__m256i)weight);
}
static inline Integers add_bytes(Integers sum, Integers input, Integers weight) {
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)input, (__m256i)weight);
  return sum + (Integers)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
static inline void store_integers(int16_t* to, Integers value) {
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32((__m256i)value, (__m256i)value), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
}
static inline void store_integers(uint8_t* to, Integers value) {
  const __m256i words = _mm256_packs_epi32((__m256i)value, (__m256i)value);
  const __m256i bytes = _mm256_packus_epi16(words, words);
  const int32_t low = _mm256_extract_epi32(bytes, 0), high = _mm256_extract_epi32(bytes, 4);
  std::memcpy(to, &low, 4);
  std::memcpy(to + 4, &high, 4);
}

#include "vision_kernels.inl"

}  // namespace avx2

const Kernels* avx2_kernels() {
  static const Kernels kernels{"AVX2", avx2::takes, avx2::packed_bytes, avx2::pack, avx2::run,
                               avx2::convolve, avx2::survey};
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kernels : nullptr;
}

}  // namespace vision
}  // namespace vary

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

namespace vary {
namespace vision {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace vision
}  // namespace vary

#endif
