// Kernels for x86-64 processors with AMX: AVX-512's, but that tiles add up the products of integers with many rows.
// They are sums of the same integers, scaled in the same order: the same bits.
#include "aligned.hpp"
#include "kernels_list.hpp"
#include "tiles.hpp"

#if defined(VARY_TILES)

#if defined(VARY_EMULATE_AVX512)
#include "avx512_emulation.hpp"
#else
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#if defined(VARY_EMULATE_AVX512)
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c,amx-tile,amx-int8"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c,amx-tile,amx-int8")
#endif

namespace vary {
namespace amx {

#include "kernels_avx512.inl"

#include "kernels_amx.inl"

const Kernels kKernels = {"AMX", quantize, multiply_by_tiles, rms_norm, rotate, to_halves, attend};

}  // namespace amx
}  // namespace vary

#if defined(VARY_EMULATE_AVX512)
#elif defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace vary {
const Kernels* amx_kernels() { return avx512_kernels() != nullptr && tiles_allowed() ? &amx::kKernels : nullptr; }
}  // namespace vary

#else

namespace vary {
const Kernels* amx_kernels() { return nullptr; }
}  // namespace vary

#endif
