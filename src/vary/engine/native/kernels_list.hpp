// The kernels of each kind of processor; null where this one, or this build, does not run them.
#pragma once

#include "kernels.hpp"

namespace vary {

const Kernels* amx_kernels();     // AVX-512 with VNNI, and AMX
const Kernels* avx512_kernels();  // AVX-512 with VNNI
const Kernels* avx2_kernels();    // with FMA and F16C
const Kernels* neon_kernels();    // 64-bit ARM with dot products
const Kernels* plain_kernels();   // any processor

}  // namespace vary
