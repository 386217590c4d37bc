// The vision vocabulary network in bfloat16 on x86-64 processors with tiles (AMX), which have AVX-512 too.
#include "vision.hpp"

#include "tiles.hpp"

#if defined(VARY_TILES)

#if defined(VARY_EMULATE_AVX512)
#include "avx512_emulation.hpp"
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <vector>

#include "halves.hpp"

#if defined(VARY_EMULATE_AMX)
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target( \
    "avx512f,avx512bw,avx512dq,avx512vnni,avx512bf16,avx2,fma,amx-tile,amx-bf16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vnni,avx512bf16,avx2,fma,amx-tile,amx-bf16")
#endif

namespace vary {
namespace vision {
namespace amx {

#include "vision_avx512.inl"

// Rounded to bfloat16, side by side.
static inline void store_bfloat16(uint16_t* to, Floats low, Floats high) {
#if defined(VARY_EMULATE_AMX)
  for (int lane = 0; lane < kLanes; lane++) to[lane] = to_bfloat16(low[lane]);
  for (int lane = 0; lane < kLanes; lane++) to[kLanes + lane] = to_bfloat16(high[lane]);
#else
  const __m512bh both = _mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
  std::memcpy(to, &both, sizeof both);
#endif
}
static inline Integers load_halves(const uint16_t* from) {
  return (Integers)_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
static inline bool any_above(Floats values, float limit) {
  return _mm512_cmp_ps_mask((__m512)values, _mm512_set1_ps(limit), _CMP_GT_OQ) != 0;
}
// x less the largest integer that is not above it, and value 2^(that integer).
static inline Floats fraction(Floats x) { return (Floats)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF); }
static inline Floats times_two_to(Floats value, Floats x) { return (Floats)_mm512_scalef_ps((__m512)value, (__m512)x); }
// 1 / x to a relative error of 2^-14.
static inline Floats nearly_inverse(Floats value) { return (Floats)_mm512_rcp14_ps((__m512)value); }

#include "vision_vectors.inl"

#include "vision_tiles.inl"

#include "vision_window.inl"

#include "vision_tiles_attention.inl"

#include "vision_tiles_network.inl"

static bool takes(const Shape& shape) {
  return shape.precision == Precision::kBFloat16 && shape.hidden % kSquare == 0 && shape.inner % kSquare == 0 &&
         shape.heads > 0 && shape.hidden % shape.heads == 0 && shape.hidden / shape.heads % kSquare == 0;
}

// Matrices of convolutions and surveys are in float32.
static size_t packed_bytes(Precision precision, int outputs, int inputs) {
  if (precision != Precision::kBFloat16) return avx512_kernels()->packed_bytes(precision, outputs, inputs);
  return packed_tiles(outputs, inputs);
}

static void pack(Precision precision, int outputs, int inputs, const float* weights, uint8_t* packed) {
  if (precision != Precision::kBFloat16) return avx512_kernels()->pack(precision, outputs, inputs, weights, packed);
  pack_tiles(outputs, inputs, weights, reinterpret_cast<uint16_t*>(packed));
}

static void run(const Shape& shape, const Block* blocks, int count, const Grid& grid, float* tokens, Threads& threads) {
  TileNetwork(shape, grid, tokens, threads).run(blocks, count);
}

}  // namespace amx

}  // namespace vision
}  // namespace vary

#if defined(VARY_EMULATE_AMX)
#elif defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace vary {
namespace vision {

const Kernels* amx_kernels() {
  const Kernels* floats = avx512_kernels();  // what is no product of this precision
#if !defined(VARY_EMULATE_AMX)
  if (!__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bf16")) return nullptr;
#endif
  if (floats == nullptr || !tiles_allowed()) return nullptr;
  static const Kernels kernels{"AMX", amx::takes, amx::packed_bytes, amx::pack, amx::run,
                               floats->convolve, floats->survey};
  return &kernels;
}

}  // namespace vision
}  // namespace vary

#else

namespace vary {
namespace vision {
const Kernels* amx_kernels() { return nullptr; }
}  // namespace vision
}  // namespace vary

#endif
