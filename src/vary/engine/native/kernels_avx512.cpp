// Kernels for x86-64 processors with AVX-512 (F, BW, VL) and its vector neural network instructions.
#include "aligned.hpp"
#include "kernels_list.hpp"

#if defined(__x86_64__) || defined(VARY_EMULATE_AVX512)

#if defined(VARY_EMULATE_AVX512)  // tests, on processors that have none of it
#include "avx512_emulation.hpp"
#else
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#if defined(VARY_EMULATE_AVX512)
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")
#endif

namespace vary {
namespace avx512 {

#include "kernels_avx512.inl"

const Kernels kKernels = {"AVX-512", quantize, multiply, rms_norm, rotate, to_halves, attend};

}  // namespace avx512

const Kernels* avx512_kernels() {
#if defined(VARY_EMULATE_AVX512)
  return &avx512::kKernels;
#else
  const bool runs = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  return runs ? &avx512::kKernels : nullptr;
#endif
}

}  // namespace vary

#if defined(VARY_EMULATE_AVX512)
#elif defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

namespace vary {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace vary

#endif
