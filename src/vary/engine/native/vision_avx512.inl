// What the files for processors with AVX-512 know of vectors.

// A panel is one vector: the rows of a tile come out of memory as operands.
constexpr int kLanes = 16, kTileRows = 12;
constexpr int kByteWeights = 127, kByteOffset = 128;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Integers __attribute__((vector_size(64)));

static inline Floats fma(Floats a, Floats b, Floats c) {
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
static inline Floats largest(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
static inline Floats absolute(Floats value) { return (Floats)((Integers)value & 0x7fffffff); }
static inline Floats to_floats(Integers value) { return (Floats)_mm512_cvtepi32_ps((__m512i)value); }
static inline Integers to_integers(Floats value) { return (Integers)_mm512_cvtps_epi32((__m512)value); }
static inline Floats rounded(Floats value) { return to_floats(to_integers(value)); }
// For what is not read soon; other threads may read it after `finish_stores`.
static inline void store_past_caches(float* to, Floats value) {
#if defined(VARY_EMULATE_AVX512)
  std::memcpy(to, &value, sizeof value);
#else
  _mm512_stream_ps(to, value);
#endif
}
static inline void finish_stores() { _mm_sfence(); }
static inline Integers same(int32_t word) { return (Integers)_mm512_set1_epi32(word); }
static inline Floats times_power_of_two(Floats value, Floats power) {
  return (Floats)((Integers)value + (to_integers(power) << 23));
}
static inline Integers add_pairs(Integers sum, Integers input, Integers weight) {
  return (Integers)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)input, (__m512i)weight);
}
static inline Integers add_bytes(Integers sum, Integers input, Integers weight) {
  return (Integers)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)input, (__m512i)weight);
}
static inline void store_integers(int16_t* to, Integers value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtsepi32_epi16((__m512i)value));
}
static inline void store_integers(uint8_t* to, Integers value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8((__m512i)value));
}
