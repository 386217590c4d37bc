// AVX-512 for processors that have none: SIMDe's, and the few instructions that it lacks or rounds twice.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "halves.hpp"

using __mmask64 = simde__mmask64;

template <class To, class From>
inline To emulated_cast(const From& from) {
  To to;
  static_assert(sizeof to == sizeof from, "of one size");
  std::memcpy(&to, &from, sizeof to);
  return to;
}

struct EmulatedFloats { float lane[16]; };
struct EmulatedIntegers { int32_t lane[16]; };
struct EmulatedHalves { uint16_t lane[16]; };
struct EmulatedBytes { uint8_t lane[16]; };

inline __m512 _mm512_cvtepi32_ps(__m512i value) {
  const auto from = emulated_cast<EmulatedIntegers>(value);
  EmulatedFloats to;
  for (int i = 0; i < 16; i++) to.lane[i] = static_cast<float>(from.lane[i]);
  return emulated_cast<__m512>(to);
}

inline __m512i _mm512_cvtps_epi32(__m512 value) {
  const auto from = emulated_cast<EmulatedFloats>(value);
  EmulatedIntegers to;
  for (int i = 0; i < 16; i++) to.lane[i] = static_cast<int32_t>(std::lrintf(from.lane[i]));
  return emulated_cast<__m512i>(to);
}

inline __m512 _mm512_cvtph_ps(__m256i value) {
  const auto from = emulated_cast<EmulatedHalves>(value);
  EmulatedFloats to;
  for (int i = 0; i < 16; i++) to.lane[i] = vary::from_float16(from.lane[i]);
  return emulated_cast<__m512>(to);
}

inline __m256i _mm512_cvtps_ph(__m512 value, int) {
  const auto from = emulated_cast<EmulatedFloats>(value);
  EmulatedHalves to;
  for (int i = 0; i < 16; i++) to.lane[i] = vary::to_float16(from.lane[i]);
  return emulated_cast<__m256i>(to);
}

inline __m128i _mm512_cvtepi32_epi8(__m512i value) {
  const auto from = emulated_cast<EmulatedIntegers>(value);
  EmulatedBytes to;
  for (int i = 0; i < 16; i++) to.lane[i] = static_cast<uint8_t>(from.lane[i]);
  return emulated_cast<__m128i>(to);
}

inline __m512i _mm512_cvtepu16_epi32(__m256i value) {
  const auto from = emulated_cast<EmulatedHalves>(value);
  EmulatedIntegers to;
  for (int i = 0; i < 16; i++) to.lane[i] = from.lane[i];
  return emulated_cast<__m512i>(to);
}

// Of the ways to round only the one to lower integers.
inline __m512 _mm512_reduce_ps(__m512 value, int) {
  auto lanes = emulated_cast<EmulatedFloats>(value);
  for (float& lane : lanes.lane) lane -= std::floor(lane);
  return emulated_cast<__m512>(lanes);
}

// More precise than the processor's.
inline __m512 _mm512_rcp14_ps(__m512 value) {
  auto lanes = emulated_cast<EmulatedFloats>(value);
  for (float& lane : lanes.lane) lane = 1 / lane;
  return emulated_cast<__m512>(lanes);
}

#undef _mm512_fmadd_ps
inline __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
  const auto x = emulated_cast<EmulatedFloats>(a), y = emulated_cast<EmulatedFloats>(b);
  auto sum = emulated_cast<EmulatedFloats>(c);
  for (int i = 0; i < 16; i++) sum.lane[i] = std::fma(x.lane[i], y.lane[i], sum.lane[i]);
  return emulated_cast<__m512>(sum);
}
