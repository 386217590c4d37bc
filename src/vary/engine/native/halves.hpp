// float16 and bfloat16 without help from the processor; the vector code has its own conversions.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace vary {

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline float from_bfloat16(uint16_t half) { return float_of(static_cast<uint32_t>(half) << 16); }

// To the nearest, halves to even.
inline uint16_t to_bfloat16(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);  // not a number
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float from_float16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 31u, fraction = half & 1023u;
  if (exponent == 31u) return float_of(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return float_of(sign | ((exponent + 112u) << 23) | (fraction << 13));
  const float small = static_cast<float>(fraction) * 5.9604644775390625e-08f;  // 2^-24
  return sign ? -small : small;
}

// To the nearest, halves to even; what is too large becomes infinite.
inline uint16_t to_float16(float value) {
  const uint32_t bits = bits_of(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return sign | 0x7e00u;
  if (size >= 0x477ff000u) return sign | 0x7c00u;
  if (size < 0x38800000u) {  // below 2^-14 the spacing is 2^-24
    return sign | static_cast<uint16_t>(std::lrintf(float_of(size) * 16777216.0f));
  }
  return sign | static_cast<uint16_t>((size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13);
}

}  // namespace vary
