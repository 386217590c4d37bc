#include "kernels.hpp"

#include <cstring>
#include <initializer_list>

#include "kernels_list.hpp"

namespace vary {

const Kernels* best_kernels(const char* name) {
  for (const Kernels* kernels : {amx_kernels(), avx512_kernels(), avx2_kernels(), neon_kernels(), plain_kernels()}) {
    if (kernels != nullptr && (name == nullptr || *name == 0 || std::strcmp(name, kernels->name) == 0))
      return kernels;
  }
  return nullptr;
}

}  // namespace vary
