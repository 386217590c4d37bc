// The kernels in terms of a vector of kLanes floats; included by one file for each kind of processor, inside a
// namespace of its own, after it has defined
//
//   kTile, the tokens that are multiplied with a block at once, so that their sums stay in registers
//   kLanes; Floats, a vector of kLanes floats, and Integers, of as many 32-bit integers, with arithmetic operators
//   fma(a, b, c), largest(a, b), to_floats(Integers), to_integers(Floats) to the nearest, absolute(Floats)
//   load_half(const uint16_t*), load_bfloat16(const uint16_t*), store_half(uint16_t*, Floats),
//   store_bytes(int8_t*, Integers)
//   integer_products<tokens, blocks>(matrix, block, rows, token, sums): blocks of an integer matrix for some tokens
//   integer_blocks(tokens), how many blocks at a time are best
//
// Sums of products are written with fma and compiled without contraction: nothing is left to the compiler.

static inline Floats load(const float* from) {
  Floats value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
static inline void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }
static inline Floats all(float value) { return value - Floats{}; }

static inline float sum_of(Floats values) {
  float parts[kLanes], total = 0;
  store(parts, values);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; lane++) parts[lane] += parts[lane + width];
  total = parts[0];
  return total;
}

// The sums of kLanes vectors, each added up in the order of sum_of: halves to halves until one lane is left.
template <int kSegment, int... kLane>
static inline Floats fold(Floats a, Floats b, std::integer_sequence<int, kLane...>) {
  constexpr auto from = [](int lane) {
    const int segment = lane / (kSegment / 2), per_vector = kLanes / kSegment;
    return segment / per_vector * kLanes + segment % per_vector * kSegment + lane % (kSegment / 2);
  };
  return __builtin_shufflevector(a, b, from(kLane)...) + __builtin_shufflevector(a, b, (from(kLane) + kSegment / 2)...);
}

template <int kSegment = kLanes>
static inline Floats sums_of(const Floats* vectors) {
  constexpr auto lanes = std::make_integer_sequence<int, kLanes>();
  if constexpr (kSegment == 2) {
    return fold<2>(vectors[0], vectors[1], lanes);
  } else {
    Floats folded[kSegment / 2];
    for (int i = 0; i < kSegment / 2; i++) folded[i] = fold<kSegment>(vectors[2 * i], vectors[2 * i + 1], lanes);
    return sums_of<kSegment / 2>(folded);
  }
}

static inline float largest_of(Floats values) {
  float parts[kLanes];
  store(parts, values);
  float most = parts[0];
  for (int lane = 1; lane < kLanes; lane++) most = parts[lane] > most ? parts[lane] : most;
  return most;
}

// e to the x by 2 to the n times a polynomial (relative error 2e-7); 0 below -87.
static inline Floats exponential(Floats x) {
  x = largest(x, all(-87.3f));
  x = -largest(-x, all(-88.0f));
  const Floats scaled = x * 1.44269504088896341f;
  const Integers whole = to_integers(scaled);
  const Floats rest = scaled - to_floats(whole);
  Floats sum = all(1.5403530e-4f);
  sum = fma(sum, rest, all(1.3333558e-3f));
  sum = fma(sum, rest, all(9.6181291e-3f));
  sum = fma(sum, rest, all(5.5504109e-2f));
  sum = fma(sum, rest, all(2.4022651e-1f));
  sum = fma(sum, rest, all(6.9314718e-1f));
  sum = fma(sum, rest, all(1.0f));
  const Integers power = (whole + 127) << 23;
  Floats two;
  std::memcpy(&two, &power, sizeof two);
  return sum * two;
}

static void quantize(const float* row, int columns, int group, int8_t* integers, float* scales,
                     int32_t* corrections) {
  alignas(64) float part[kLargestGroup];
  for (int start = 0, number = 0; start < columns; start += group, number++) {
    const float* from = row + start;
    if (start + group > columns) {
      std::memset(part, 0, sizeof part);
      std::memcpy(part, from, sizeof(float) * (columns - start));
      from = part;
    }
    Floats most{};
    for (int k = 0; k < group; k += kLanes) most = largest(most, absolute(load(from + k)));
    const float peak = largest_of(most);
    const float inverse = peak > 0 ? 127 / peak : 0;
    Integers total{};
    for (int k = 0; k < group; k += kLanes) {
      const Integers rounded = to_integers(load(from + k) * inverse);
      total += rounded;
      store_bytes(integers + start + k, rounded);
    }
    int32_t sum = 0;
    for (int lane = 0; lane < kLanes; lane++) sum += total[lane];
    scales[number] = peak / 127;
    corrections[number] = -8 * sum;
  }
}

#include "kernels_products.inl"

static void rms_norm(const float* row, const float* weight, int size, float epsilon, float* output) {
  Floats squares{};
  int k = 0;
  for (; k + kLanes <= size; k += kLanes) squares = fma(load(row + k), load(row + k), squares);
  float total = sum_of(squares);
  for (; k < size; k++) total += row[k] * row[k];
  const float inverse = 1.0f / std::sqrt(total / static_cast<float>(size) + epsilon);
  for (k = 0; k + kLanes <= size; k += kLanes) store(output + k, load(row + k) * inverse * load(weight + k));
  for (; k < size; k++) output[k] = row[k] * inverse * weight[k];
}

static void rotate(float* heads, int count, int head_dim, const float* cosines, const float* sines) {
  const int half = head_dim / 2;
  for (int head = 0; head < count; head++, heads += head_dim) {
    int k = 0;
    for (; k + kLanes <= half; k += kLanes) {
      const Floats a = load(heads + k), b = load(heads + half + k);
      const Floats cosine = load(cosines + k), sine = load(sines + k);
      store(heads + k, a * cosine - b * sine);
      store(heads + half + k, b * cosine + a * sine);
    }
    for (; k < half; k++) {
      const float a = heads[k], b = heads[half + k];
      heads[k] = a * cosines[k] - b * sines[k];
      heads[half + k] = b * cosines[k] + a * sines[k];
    }
  }
}

static void to_halves(const float* values, int count, uint16_t* halves) {
  const Floats most = all(65504.0f);
  for (int k = 0; k < count; k += kLanes) {
    const Floats value = largest(load(values + k), -most);
    store_half(halves + k, -largest(-value, -most));
  }
}

static inline Floats load_past(const uint16_t* from) { return load_half(from); }
static inline Floats load_past(const float* from) { return load(from); }

// The products of queries with a few neighbouring keys, each key's to lanes that are still to be added up.
template <int kCount, int kKeys, class Kept>
static inline void score_keys(const Kept* keys, const float* queries, int stride, int head_dim,
                              Floats (*products)[kLanes], int first) {
  Floats totals[kCount][kKeys];
#pragma GCC unroll 16
  for (int q = 0; q < kCount; q++)
#pragma GCC unroll 16
    for (int p = 0; p < kKeys; p++) totals[q][p] = Floats{};
  for (int k = 0; k < head_dim; k += kLanes) {
    Floats key[kKeys];
#pragma GCC unroll 16
    for (int p = 0; p < kKeys; p++) key[p] = load_past(keys + p * head_dim + k);
#pragma GCC unroll 16
    for (int q = 0; q < kCount; q++) {
      const Floats query = load(queries + static_cast<size_t>(q) * stride + k);
#pragma GCC unroll 16
      for (int p = 0; p < kKeys; p++) totals[q][p] = fma(key[p], query, totals[q][p]);
    }
  }
#pragma GCC unroll 16
  for (int q = 0; q < kCount; q++)
#pragma GCC unroll 16
    for (int p = 0; p < kKeys; p++) products[q][first + p] = totals[q][p];
}

template <class Kept>
static inline void fetch(const Kept* from, int count) {
  for (int i = 0; i < count; i += 64 / static_cast<int>(sizeof(Kept))) __builtin_prefetch(from + i, 0, 2);
}

// Scaled products of the queries with the keys, which are kept as `Kept`: scores (kCount, width).
template <int kCount, class Kept>
static void score(const Past& past, const float* queries, int stride, int most, int width, int head_dim,
                  float* scores) {
  constexpr int kKeys = kLanes == 16 ? 4 : 2;  // whose sums stay in registers
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  for (int start = 0; start < most; start += kLanes) {  // of one block, as its size is a multiple of kLanes
    const int count = most - start < kLanes ? most - start : kLanes;
    const size_t place = static_cast<size_t>(start % past.block) * head_dim;
    const Kept* keys = reinterpret_cast<const Kept*>(past.keys[start / past.block]) + place;
    // The values, whose turn is next, come from memory beside the keys, as do the keys after these.
    fetch(reinterpret_cast<const Kept*>(past.values[start / past.block]) + place, kLanes * head_dim);
    if (const int next = start + kLanes; next < most)
      fetch(reinterpret_cast<const Kept*>(past.keys[next / past.block]) +
                static_cast<size_t>(next % past.block) * head_dim, kLanes * head_dim);
    Floats products[kCount][kLanes]{};
    int p = 0;
    for (; p + kKeys <= count; p += kKeys)
      score_keys<kCount, kKeys>(keys + p * head_dim, queries, stride, head_dim, products, p);
    for (; p < count; p++) score_keys<kCount, 1>(keys + p * head_dim, queries, stride, head_dim, products, p);
    for (int q = 0; q < kCount; q++) store(scores + q * width + start, sums_of(products[q]) * scale);
  }
}

// The values of all positions, weighed: output (kCount, head_dim), kVectors of it at a time.
template <int kCount, int kVectors, class Kept>
static void weigh(const Past& past, const float* weights, int most, int width, int head_dim, float* output,
                  int stride) {
  for (int k = 0; k < head_dim; k += kLanes * kVectors) {
    Floats sums[kCount][kVectors];
#pragma GCC unroll 16
    for (int q = 0; q < kCount; q++)
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; v++) sums[q][v] = Floats{};
    for (int start = 0; start < most; start += past.block) {
      const Kept* values = reinterpret_cast<const Kept*>(past.values[start / past.block]) + k;
      const int end = most - start < past.block ? most - start : past.block;
      for (int p = 0; p < end; p++, values += head_dim) {
        Floats value[kVectors];
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; v++) value[v] = load_past(values + v * kLanes);
#pragma GCC unroll 16
        for (int q = 0; q < kCount; q++) {
          const Floats weight = all(weights[q * width + start + p]);
#pragma GCC unroll 16
          for (int v = 0; v < kVectors; v++) sums[q][v] = fma(weight, value[v], sums[q][v]);
        }
      }
    }
#pragma GCC unroll 16
    for (int q = 0; q < kCount; q++)
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; v++)
        store(output + static_cast<size_t>(q) * stride + k + v * kLanes, sums[q][v]);
  }
}

// Softmax of the first `seen` scores of a row; the others become 0.
static void soften(float* row, int seen, int width) {
  float peak = row[0];
  for (int p = 1; p < seen; p++) peak = row[p] > peak ? row[p] : peak;
  for (int p = seen; p < width; p++) row[p] = -1e30f;
  Floats total{};
  for (int p = 0; p < width; p += kLanes) {
    const Floats weight = exponential(load(row + p) - peak);
    store(row + p, weight);
    total += weight;  // of what is not seen e-38 each, which is lost in a sum of at least one
  }
  const float inverse = 1.0f / sum_of(total);
  for (int p = 0; p < seen; p++) row[p] *= inverse;
  for (int p = seen; p < width; p++) row[p] = 0;
}

template <int kCount, class Kept>
static void attend_kept(const Past& past, const float* queries, int stride, const int* seen, int head_dim,
                        float* scratch, float* output, int output_stride) {
  const int most = seen[kCount - 1], width = (most + 15) / 16 * 16;
  score<kCount, Kept>(past, queries, stride, most, width, head_dim, scratch);
  for (int q = 0; q < kCount; q++) soften(scratch + q * width, seen[q], width);
  // Vectors at a time that divide a head's width and leave registers.
  constexpr int kWide = kLanes == 16 || kCount == 1 ? 4 : 2, kNarrow = kLanes == 16 ? 2 : kWide;
  if (head_dim % (kWide * kLanes) == 0)
    weigh<kCount, kWide, Kept>(past, scratch, most, width, head_dim, output, output_stride);
  else
    weigh<kCount, kNarrow, Kept>(past, scratch, most, width, head_dim, output, output_stride);
}

template <int kCount>
static void attend_with(const Past& past, const float* queries, int stride, const int* seen, int head_dim,
                        float* scratch, float* output, int output_stride) {
  if (past.wide) attend_kept<kCount, float>(past, queries, stride, seen, head_dim, scratch, output, output_stride);
  else attend_kept<kCount, uint16_t>(past, queries, stride, seen, head_dim, scratch, output, output_stride);
}

static void attend(const Past& past, const float* queries, int stride, int count, const int* seen, int head_dim,
                   float* scratch, float* output, int output_stride) {
  switch (count) {
    case 1: return attend_with<1>(past, queries, stride, seen, head_dim, scratch, output, output_stride);
    case 2: return attend_with<2>(past, queries, stride, seen, head_dim, scratch, output, output_stride);
    case 3: return attend_with<3>(past, queries, stride, seen, head_dim, scratch, output, output_stride);
    default: return attend_with<4>(past, queries, stride, seen, head_dim, scratch, output, output_stride);
  }
}
