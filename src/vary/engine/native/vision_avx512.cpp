// The vision vocabulary network on x86-64 processors with AVX-512 (F, BW) and its vector neural network instructions.
#include "vision.hpp"

#if defined(__x86_64__) || defined(VARY_EMULATE_AVX512)

#if defined(VARY_EMULATE_AVX512)  // tests, on processors that have none of it
#include "avx512_emulation.hpp"
#else
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

#if defined(VARY_EMULATE_AVX512)
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vnni,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vnni,avx2,fma")
#endif

namespace vary {
namespace vision {
namespace avx512 {

#include "vision_avx512.inl"

#include "vision_kernels.inl"

}  // namespace avx512

const Kernels* avx512_kernels() {
  static const Kernels kernels{"AVX-512", avx512::takes, avx512::packed_bytes, avx512::pack, avx512::run,
                               avx512::convolve, avx512::survey};
#if !defined(VARY_EMULATE_AVX512)
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vnni"))
    return nullptr;
#endif
  return &kernels;
}

}  // namespace vision
}  // namespace vary

#if defined(VARY_EMULATE_AVX512)
#elif defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

namespace vary {
namespace vision {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace vision
}  // namespace vary

#endif
