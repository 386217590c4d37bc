// Convolutions as products: the patches of some places of the output are laid side by side, where the matrix finds them
// in the cache, and no table of all patches exists.  A kernel of one place makes it a product of rows.

// The patch around a place, (kernel, kernel, channels): of three columns side by side the channels follow each other.
static void lay_patch(const Convolution& c, const float* image, int valid, int row, int column, float* to) {
  const int border = c.kernel / 2, top = row * c.row_stride - border, left = column * c.column_stride - border;
  const int from = std::max(0, -left), until = std::min(c.kernel, valid - left);
  const size_t line = static_cast<size_t>(c.kernel) * c.channels;
  for (int k = 0; k < c.kernel; k++, to += line) {
    if (top + k < 0 || top + k >= c.rows || until <= from) {
      std::memset(to, 0, line * sizeof(float));
      continue;
    }
    const float* source = image + (static_cast<size_t>(top + k) * c.columns + left + from) * c.channels;
    const size_t begin = static_cast<size_t>(from) * c.channels, end = static_cast<size_t>(until) * c.channels;
    std::memset(to, 0, begin * sizeof(float));
    std::memcpy(to + begin, source, (end - begin) * sizeof(float));
    std::memset(to + end, 0, (line - end) * sizeof(float));
  }
}

// A vector of outputs; those beyond the last one are filling and are dropped.
static inline void store_some(float* to, Floats value, int count) {
  if (count >= kLanes) store(to, value);
  else if (count > 0) std::memcpy(to, &value, sizeof(float) * count);
}

static void convolve(const Convolution& c, const float* input, float* output, Threads& threads) {
  const int rows = c.output_rows(), columns = c.output_columns(), outputs = c.matrix.outputs;
  const int64_t places = static_cast<int64_t>(c.images) * rows * columns;
  const size_t image_size = static_cast<size_t>(c.rows) * c.columns * c.channels;
  threads.run(static_cast<int>((places + kRowBlock - 1) / kRowBlock), [&](int task, int) {
    const int64_t first = static_cast<int64_t>(task) * kRowBlock, last = std::min(places, first + kRowBlock);
    thread_local Rows block;
    thread_local Aligned<int32_t> partial;
    const size_t words = static_cast<size_t>(kRowBlock) * c.matrix.inputs;
    if (block.words.size() < words) block.words.resize(words);
    const size_t sums = c.matrix.inputs > kWordBlock ? static_cast<size_t>(rounded_up(outputs, kPanel)) * kRowBlock : 0;
    if (partial.size() < sums) partial.resize(sums);
    float* to[kRowBlock];
    int count = 0;
    for (int64_t place = first; place < last; place++) {
      const int column = static_cast<int>(place % columns), row = static_cast<int>(place / columns % rows);
      const int image = static_cast<int>(place / columns / rows);
      const int valid = c.valid_columns == nullptr ? c.columns : c.valid_columns[image];
      float* result = output + static_cast<size_t>(place) * outputs;
      if (column * c.column_stride >= valid) {
        std::memset(result, 0, sizeof(float) * outputs);
        continue;
      }
      lay_patch(c, input + image * image_size, valid, row, column,
                reinterpret_cast<float*>(block.words.data()) + static_cast<size_t>(count) * c.matrix.inputs);
      to[count++] = result;
    }
    multiply<Float32>(block, count, c.matrix, partial, [&](int row, int column, const Panel& values) {
      for (int v = 0; v < kVectors; v++) {
        const int place = column + v * kLanes;
        store_some(to[row] + place, c.relu ? largest(values[v], all(0)) : values[v], outputs - place);
      }
    });
    for (int row = 0; row < count && c.norm_size > 0; row++)
      for (int start = 0; start < outputs; start += c.norm_size)
        normalize(to[row] + start, c.norm_size, c.norm, c.epsilon, to[row] + start);
  });
}
