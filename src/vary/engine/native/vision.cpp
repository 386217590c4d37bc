// What Python calls of the vision vocabulary network, by ctypes.
#include "vision.hpp"

#include <exception>

#if defined(_WIN32)
#define VARY_PUBLIC extern "C" __declspec(dllexport)
#else
#define VARY_PUBLIC extern "C" __attribute__((visibility("default")))
#endif

using vary::vision::best_kernels;
using vary::vision::Precision;

// The name of the kernels; null where they do not take this shape.
VARY_PUBLIC const char* vary_vision_kernels(const vary::vision::Shape* shape) {
  const auto* kernels = best_kernels(shape->precision);
  return kernels->takes(*shape) ? kernels->name : nullptr;
}

VARY_PUBLIC int64_t vary_vision_packed_bytes(int32_t precision, int32_t outputs, int32_t inputs) {
  return static_cast<int64_t>(best_kernels(Precision{precision})->packed_bytes(Precision{precision}, outputs, inputs));
}

VARY_PUBLIC void vary_vision_pack(int32_t precision, int32_t outputs, int32_t inputs, const float* weights,
                                  uint8_t* packed) {
  best_kernels(Precision{precision})->pack(Precision{precision}, outputs, inputs, weights, packed);
}

// 0, or 2 where memory does not suffice.
VARY_PUBLIC int32_t vary_vision_run(const vary::vision::Shape* shape, const vary::vision::Block* blocks, int32_t count,
                                    const vary::vision::Grid* grid, float* tokens, int32_t threads) {
  try {
    vary::Threads pool(threads);
    best_kernels(shape->precision)->run(*shape, blocks, count, *grid, tokens, pool);
    return 0;
  } catch (const std::exception&) {
    return 2;
  }
}

// 0, or 2 where memory does not suffice.
VARY_PUBLIC int32_t vary_vision_survey(const vary::vision::Matrix* matrix, const float* rows, int32_t count,
                                       int32_t* best, float* totals, int32_t threads) {
  try {
    vary::Threads pool(threads);
    best_kernels(Precision::kFloat32)->survey(*matrix, rows, count, best, totals, pool);
    return 0;
  } catch (const std::exception&) {
    return 2;
  }
}

// 0, or 2 where memory does not suffice.
VARY_PUBLIC int32_t vary_vision_convolve(const vary::vision::Convolution* convolution, const float* input,
                                         float* output, int32_t threads) {
  try {
    vary::Threads pool(threads);
    best_kernels(Precision::kFloat32)->convolve(*convolution, input, output, pool);
    return 0;
  } catch (const std::exception&) {
    return 2;
  }
}
