// The vision vocabulary network on 64-bit ARM processors.
#include "vision.hpp"

#if defined(__aarch64__)

#include <arm_neon.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

namespace vary {
namespace vision {
namespace neon {

constexpr int kLanes = 4, kTileRows = 6;
constexpr int kByteWeights = 127, kByteOffset = 0;
typedef float Floats __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(16)));

static inline Floats fma(Floats a, Floats b, Floats c) {
  return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
static inline Floats largest(Floats a, Floats b) { return (Floats)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
static inline Floats absolute(Floats value) { return (Floats)vabsq_f32((float32x4_t)value); }
static inline Floats rounded(Floats value) { return (Floats)vrndnq_f32((float32x4_t)value); }
static inline void store_past_caches(float* to, Floats value) { vst1q_f32(to, (float32x4_t)value); }
static inline void finish_stores() {}
static inline Floats to_floats(Integers value) { return (Floats)vcvtq_f32_s32((int32x4_t)value); }
static inline Integers to_integers(Floats value) { return (Integers)vcvtnq_s32_f32((float32x4_t)value); }
static inline Integers same(int32_t word) { return (Integers)vdupq_n_s32(word); }
static inline Floats times_power_of_two(Floats value, Floats power) {
  return (Floats)((Integers)value + (to_integers(power) << 23));
}
static inline Integers add_pairs(Integers sum, Integers input, Integers weight) {
  const int16x8_t a = (int16x8_t)input, b = (int16x8_t)weight;
  const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
  return sum + (Integers)vpaddq_s32(low, high);
}
static inline Integers add_bytes(Integers sum, Integers input, Integers weight) {
  const int8x16_t a = (int8x16_t)input, b = (int8x16_t)weight;
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
  return sum + (Integers)vpaddq_s32(low, vpaddlq_s16(vmull_high_s8(a, b)));
}
static inline void store_integers(int16_t* to, Integers value) { vst1_s16(to, vqmovn_s32((int32x4_t)value)); }
static inline void store_integers(uint8_t* to, Integers value) {
  const int16x4_t words = vqmovn_s32((int32x4_t)value);
  const int32x2_t bytes = vreinterpret_s32_s8(vqmovn_s16(vcombine_s16(words, words)));
  const int32_t four = vget_lane_s32(bytes, 0);
  std::memcpy(to, &four, 4);
}

#include "vision_kernels.inl"

}  // namespace neon

const Kernels* neon_kernels() {
  static const Kernels kernels{"NEON", neon::takes, neon::packed_bytes, neon::pack, neon::run,
                               neon::convolve, neon::survey};
  return &kernels;
}

}  // namespace vision
}  // namespace vary

#else

namespace vary {
namespace vision {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace vision
}  // namespace vary

#endif
