// Products of packed matrices in three precisions, in terms of vectors; included once for every kind of processor, in
// a namespace of its own, behind what that knows of vectors: kLanes, kTileRows, Floats, Integers, a few functions.

// A tile is kTileRows rows times kPanel columns of a product; its sums stay in registers.
constexpr int kVectors = kPanel / kLanes;
constexpr int kWordBlock = 384;  // words of a panel at a time, 24 KiB
constexpr int kRowBlock = 96;     // rows that one task takes through a matrix
static_assert(kRowBlock % kTileRows == 0, "whole tiles");

using Panel = Floats[kVectors];  // a row's outputs of one panel

// The three precisions.  A word of 32 bits holds one to four neighbouring inputs; `kInputs` is the largest size of
// an input's integer, `kWeights` that of a weight's.
struct Float32 {
  static constexpr int kPerWord = 1;
  using Sum = Floats;
  static inline Sum add(Sum sum, Integers input, Integers weight) { return fma((Floats)input, (Floats)weight, sum); }
};

struct Int16 {
  static constexpr int kPerWord = 2;
  static constexpr int kInputs = 2047, kWeights = 32767, kOffset = 0;
  using Input = int16_t;
  using Weight = int16_t;
  using Sum = Integers;
  static inline Sum add(Sum sum, Integers input, Integers weight) { return add_pairs(sum, input, weight); }
};

struct Int8 {
  static constexpr int kPerWord = 4;
  static constexpr int kInputs = 127, kWeights = kByteWeights, kOffset = kByteOffset;
  using Input = uint8_t;
  using Weight = int8_t;
  using Sum = Integers;
  static inline Sum add(Sum sum, Integers input, Integers weight) { return add_bytes(sum, input, weight); }
};

// sums (kTileRows, kPanel) += rows (kTileRows, words) times a panel (words, kPanel).
template <class P>
static inline void add_tile(const int32_t* rows, ptrdiff_t stride, const int32_t* panel, int words,
                            typename P::Sum (&sums)[kTileRows][kVectors]) {
  for (int word = 0; word < words; word++) {
    Integers weights[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) weights[v] = load(panel + static_cast<ptrdiff_t>(word) * kPanel + v * kLanes);
#pragma GCC unroll 16
    for (int row = 0; row < kTileRows; row++) {
      const Integers input = same(rows[row * stride + word]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; v++) sums[row][v] = P::add(sums[row][v], input, weights[v]);
    }
  }
}

// A packed matrix: panels of kPanel outputs, in each word after word the outputs' words side by side; of integers
// also a scale and a first sum for each output (the latter takes back the offset of unsigned inputs).
template <class P>
struct Packed {
  const int32_t* words;
  const float* scales;
  const int32_t* starts;
  int outputs, row_words;

  Packed(const uint8_t* bytes, int outputs, int inputs)
      : words(reinterpret_cast<const int32_t*>(bytes)), outputs(rounded_up(outputs, kPanel)),
        row_words(inputs / P::kPerWord) {
    const size_t cells = static_cast<size_t>(this->outputs) * row_words;
    scales = reinterpret_cast<const float*>(words + cells);
    starts = words + cells + this->outputs;
  }
  typename P::Sum start(const Matrix& matrix, int output) const {
    if constexpr (P::kPerWord == 1) return load(matrix.bias + output);
    else return load(starts + output);
  }
  static size_t bytes(int outputs, int inputs) {
    const size_t all_outputs = rounded_up(outputs, kPanel);
    return 4 * all_outputs * (inputs / P::kPerWord + (P::kPerWord == 1 ? 0 : 2));
  }
};

template <class P>
static void pack_matrix(int outputs, int inputs, const float* weights, uint8_t* bytes) {
  const Packed<P> packed(bytes, outputs, inputs);
  std::memset(bytes, 0, Packed<P>::bytes(outputs, inputs));
  for (int output = 0; output < outputs; output++) {
    const float* row = weights + static_cast<size_t>(output) * inputs;
    int32_t* words = reinterpret_cast<int32_t*>(bytes) +
                     static_cast<size_t>(output / kPanel) * kPanel * packed.row_words + output % kPanel;
    if constexpr (P::kPerWord == 1) {
      for (int input = 0; input < inputs; input++)
        std::memcpy(words + static_cast<size_t>(input) * kPanel, row + input, 4);
    } else {
      float most = 0, total = 0;
      for (int input = 0; input < inputs; input++) {
        const float size = std::fabs(row[input]);
        most = size > most ? size : most;
        total += size;
      }
      // No sum may leave 32 bits, whatever the inputs are: kInputs times the sum of the weights' sizes.
      const float room = (2147483647.0f - inputs * static_cast<float>(P::kInputs)) / P::kInputs;
      float scale = most / P::kWeights;
      if (total > room * scale) scale = total / room;
      const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
      int32_t weight_sum = 0;
      for (int word = 0; word < packed.row_words; word++) {
        typename P::Weight four[P::kPerWord];
        for (int i = 0; i < P::kPerWord; i++) {
          const long value = std::lrintf(row[word * P::kPerWord + i] * inverse);
          four[i] = static_cast<typename P::Weight>(value);
          weight_sum += static_cast<int32_t>(value);
        }
        std::memcpy(words + static_cast<size_t>(word) * kPanel, four, 4);
      }
      const_cast<float*>(packed.scales)[output] = scale;
      const_cast<int32_t*>(packed.starts)[output] = -P::kOffset * weight_sum;
    }
  }
}

// Rows as a matrix takes them.
struct Rows {
  Aligned<int32_t> words;
  float scales[kRowBlock] = {};

  // `values`: kPanel of them side by side, the next ones `pitch` further.
  template <class P>
  void set(int row, const float* values, int count, size_t pitch = kPanel) {
    int32_t* to = words.data() + static_cast<size_t>(row) * (count / P::kPerWord);
    if constexpr (P::kPerWord == 1) {
      for (int i = 0; i < count; i += kPanel, values += pitch) std::memcpy(to + i, values, kPanel * 4);
      scales[row] = 1;
    } else {
      Floats sizes = all(0);
      const float* from = values;
      for (int i = 0; i < count; i += kPanel, from += pitch)
        for (int lane = 0; lane < kPanel; lane += kLanes) sizes = largest(sizes, absolute(load(from + lane)));
      const float most = largest_of(sizes);
      scales[row] = most / P::kInputs;
      const float inverse = most > 0 ? P::kInputs / most : 0;
      auto* integers = reinterpret_cast<typename P::Input*>(to);
      for (int i = 0; i < count; i += kPanel, values += pitch)
        for (int lane = 0; lane < kPanel; lane += kLanes)
          store_integers(integers + i + lane, to_integers(load(values + lane) * inverse) + P::kOffset);
    }
  }
};

// emit(row, output, the vectors of a panel) for rows (count) times the matrix, plus its bias.  Words are taken kWordBlock at
// a time, of which a panel's stay in the first-level cache; `partial` holds the sums in between.
template <class P, class Emit>
static inline void multiply(const Rows& rows, int count, const Matrix& matrix, Aligned<int32_t>& partial,
                            const Emit& emit) {
  const Packed<P> packed(matrix.packed, matrix.outputs, matrix.inputs);
  using Sum = typename P::Sum;
  for (int word = 0; word < packed.row_words; word += kWordBlock) {
    const int words = packed.row_words - word < kWordBlock ? packed.row_words - word : kWordBlock;
    const bool last = word + words == packed.row_words;
    for (int output = 0; output < matrix.outputs; output += kPanel) {
      const int32_t* panel =
          packed.words + static_cast<size_t>(output) * packed.row_words + static_cast<size_t>(word) * kPanel;
      Sum start[kVectors];
      for (int v = 0; v < kVectors; v++) start[v] = packed.start(matrix, output + v * kLanes);
      for (int row = 0; row < count; row += kTileRows) {
        int32_t* kept = partial.data() + static_cast<size_t>(output) * kRowBlock + static_cast<size_t>(row) * kPanel;
        Sum sums[kTileRows][kVectors];
#pragma GCC unroll 16
        for (int i = 0; i < kTileRows; i++)
#pragma GCC unroll 16
          for (int v = 0; v < kVectors; v++)
            sums[i][v] = word == 0 ? start[v] : (Sum)load(kept + i * kPanel + v * kLanes);
        add_tile<P>(rows.words.data() + static_cast<size_t>(row) * packed.row_words + word, packed.row_words, panel,
                    words, sums);
#pragma GCC unroll 16
        for (int i = 0; i < kTileRows; i++) {
          if (!last) {
#pragma GCC unroll 16
            for (int v = 0; v < kVectors; v++) store(kept + i * kPanel + v * kLanes, (Integers)sums[i][v]);
          } else if (row + i < count) {
            if constexpr (P::kPerWord == 1) {
              emit(row + i, output, sums[i]);
            } else {
              const Floats scale = all(rows.scales[row + i]);
              Floats values[kVectors];
#pragma GCC unroll 16
              for (int v = 0; v < kVectors; v++) {
                const int column = output + v * kLanes;
                values[v] = fma(to_floats(sums[i][v]), load(packed.scales + column) * scale, load(matrix.bias + column));
              }
              emit(row + i, output, values);
            }
          }
        }
      }
    }
  }
}
