// What Python calls, by ctypes: plain C functions that never throw.  Numbers they return say what went wrong.
#include <cstdint>
#include <exception>
#include <vector>

#include "decoder.hpp"
#include "kernels.hpp"
#include "pack.hpp"

#if defined(_WIN32)
#define VARY_PUBLIC extern "C" __declspec(dllexport)
#else
#define VARY_PUBLIC extern "C" __attribute__((visibility("default")))
#endif

namespace {

constexpr int kOk = 0, kRefused = 1, kNoMemory = 2;

// Runs `work`, which returns whether it was done.
template <class Work>
int guarded(const Work& work) {
  try {
    return work() ? kOk : kRefused;
  } catch (const std::exception&) {
    return kNoMemory;
  }
}

}  // namespace

// Counts up with every change of these functions or of how weights lie in memory.
VARY_PUBLIC int32_t vary_version() { return 5; }

// The name of the kernels that `name` ("" for the best) stands for; null if this processor does not run them.
VARY_PUBLIC const char* vary_kernels(const char* name) {
  const vary::Kernels* kernels = vary::best_kernels(name);
  return kernels == nullptr ? nullptr : kernels->name;
}

VARY_PUBLIC int32_t vary_pack(const vary::Matrix* matrix, const float* weights, const float* importance,
                              int32_t tries, int32_t threads, uint8_t* values, uint16_t* scales) {
  return guarded([&] {
    vary::Threads pool(threads);
    vary::pack(*matrix, weights, importance, tries, values, scales, pool);
    return true;
  });
}

VARY_PUBLIC void vary_unpack(const vary::Matrix* matrix, int32_t first, int32_t last, float* weights) {
  vary::unpack(*matrix, first, last, weights);
}

// product (tokens, matrix.rows) = input (tokens, matrix.columns) times the matrix, as the decoder computes it.
VARY_PUBLIC int32_t vary_multiply(const vary::Matrix* matrix, const char* kernels, const float* input,
                                  int32_t tokens, float* product) {
  return guarded([&] {
    const vary::Kernels* chosen = vary::best_kernels(kernels);
    if (chosen == nullptr) return false;
    const int stride = matrix->padded_columns(), groups = matrix->groups();
    std::vector<int8_t> integers(static_cast<size_t>(tokens) * stride);
    std::vector<float> scales(static_cast<size_t>(tokens) * groups);
    std::vector<int32_t> corrections(scales.size());
    vary::Rows rows{input, integers.data(), scales.data(), corrections.data(), stride, groups};
    if (vary::is_integer(matrix->kind)) {
      for (int token = 0; token < tokens; token++)
        chosen->quantize(input + static_cast<size_t>(token) * matrix->columns, matrix->columns, matrix->group,
                         &integers[static_cast<size_t>(token) * stride], &scales[static_cast<size_t>(token) * groups],
                         &corrections[static_cast<size_t>(token) * groups]);
    }
    chosen->multiply(*matrix, rows, tokens, 0, matrix->blocks(), {vary::Then::kStore, product, matrix->rows, nullptr});
    return true;
  });
}

VARY_PUBLIC vary::Decoder* vary_decoder_new(const vary::Shape* shape, const vary::Layer* layers, const float* norm,
                                            const vary::Matrix* head, const char* kernels, int32_t threads) {
  vary::Decoder* decoder = nullptr;
  guarded([&] {
    const vary::Kernels* chosen = vary::best_kernels(kernels);
    if (chosen == nullptr) return false;
    vary::Weights weights{std::vector<vary::Layer>(layers, layers + shape->layers), norm, *head};
    decoder = new vary::Decoder(*shape, std::move(weights), *chosen, threads);
    return true;
  });
  return decoder;
}

VARY_PUBLIC void vary_decoder_delete(vary::Decoder* decoder) { delete decoder; }

VARY_PUBLIC int32_t vary_decoder_open(vary::Decoder* decoder) { return decoder->open(); }

VARY_PUBLIC void vary_decoder_close(vary::Decoder* decoder, int32_t sequence) { decoder->close(sequence); }

VARY_PUBLIC int32_t vary_decoder_length(vary::Decoder* decoder, int32_t sequence) {
  return decoder->length(sequence);
}

VARY_PUBLIC int32_t vary_decoder_cut(vary::Decoder* decoder, int32_t sequence, int32_t length) {
  return decoder->cut(sequence, length) ? kOk : kRefused;
}

VARY_PUBLIC int32_t vary_decoder_read(vary::Decoder* decoder, const vary::Part* parts, int32_t count,
                                      const float* embeddings, float* scores) {
  return guarded([&] { return decoder->read(std::vector<vary::Part>(parts, parts + count), embeddings, scores); });
}

VARY_PUBLIC int64_t vary_decoder_cache_bytes(vary::Decoder* decoder) { return decoder->cache_bytes(); }
