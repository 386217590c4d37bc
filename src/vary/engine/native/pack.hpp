// From rows of floats to a matrix as the kernels want it.
#pragma once

#include <cstdint>

#include "matrix.hpp"
#include "threads.hpp"

namespace vary {

// Packs weights (rows, columns) into `values` and `scales`, which have matrix.value_bytes() and
// matrix.scale_count() elements.  Integers are rounded with the scale that loses least: of `tries` on either side
// of the one that the largest value would have, each then fitted to its integers.  `importance` (columns), or
// null, weighs the squared errors.
void pack(const Matrix& matrix, const float* weights, const float* importance, int tries, uint8_t* values,
          uint16_t* scales, Threads& threads);

// The inverse: rows first .. last - 1 as floats (last - first, columns).
void unpack(const Matrix& matrix, int first, int last, float* weights);

}  // namespace vary
