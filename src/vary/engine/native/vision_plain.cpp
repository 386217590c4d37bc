// The vision vocabulary network on any processor: vectors of the compiler's, of which it makes what there is.
#include "vision.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

namespace vary {
namespace vision {
namespace plain {

constexpr int kLanes = 4, kTileRows = 2;
constexpr int kByteWeights = 127, kByteOffset = 0;
typedef float Floats __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(16)));

static inline Floats fma(Floats a, Floats b, Floats c) { return a * b + c; }
static inline Floats largest(Floats a, Floats b) { return a > b ? a : b; }
static inline Floats absolute(Floats value) { return (Floats)((Integers)value & 0x7fffffff); }
// Of what is smaller than 2^22, to the nearest, halves to the even one.
static inline Floats rounded(Floats value) { return (value + 12582912.0f) - 12582912.0f; }
static inline void store_past_caches(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }
static inline void finish_stores() {}
static inline Floats to_floats(Integers value) { return __builtin_convertvector(value, Floats); }
static inline Integers to_integers(Floats value) { return __builtin_convertvector(rounded(value), Integers); }
static inline Integers same(int32_t word) { return word - Integers{}; }
static inline Floats times_power_of_two(Floats value, Floats power) {
  return (Floats)((Integers)value + (to_integers(power) << 23));
}
static inline Integers add_pairs(Integers sum, Integers input, Integers weight) {
  return sum + (input << 16 >> 16) * (weight << 16 >> 16) + (input >> 16) * (weight >> 16);
}
static inline Integers add_bytes(Integers sum, Integers input, Integers weight) {
  for (int up = 24; up >= 0; up -= 8) sum += (input << up >> 24) * (weight << up >> 24);
  return sum;
}
template <class T>
static inline void store_integers(T* to, Integers value) {
  for (int lane = 0; lane < kLanes; lane++) to[lane] = static_cast<T>(value[lane]);
}

#include "vision_kernels.inl"

}  // namespace plain

const Kernels* plain_kernels() {
  static const Kernels kernels{"plain C++", plain::takes, plain::packed_bytes, plain::pack, plain::run,
                               plain::convolve, plain::survey};
  return &kernels;
}

}  // namespace vision
}  // namespace vary
