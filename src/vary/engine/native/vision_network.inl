// The network: attention by heads, all else by blocks of tokens, which stay in the cache from one matrix to the next.

// What one thread works in.
struct Scratch {
  Rows rows;
  Aligned<int32_t> partial;
  Aligned<float> row, inner;
  AttentionSpace attention;
};

constexpr int kTasksPerThread = 8;

template <class P>
struct Network {
  const Shape& shape;
  const Grid& grid;
  float* tokens;  // (T, hidden)
  Aligned<float> qkv, mixed;  // (T, 3 hidden), (T, hidden)
  std::vector<Scratch> scratch;
  Threads& threads;

  Network(const Shape& shape, const Grid& grid, float* tokens, Threads& threads)
      : shape(shape), grid(grid), tokens(tokens), qkv(static_cast<size_t>(grid.tokens()) * 3 * shape.hidden),
        mixed(static_cast<size_t>(grid.tokens()) * shape.hidden), scratch(threads.count()), threads(threads) {
    for (auto& one : scratch) {
      one.rows.words.resize(static_cast<size_t>(kRowBlock) * shape.inner);
      one.partial.resize(static_cast<size_t>(kRowBlock) * std::max(shape.inner, 3 * shape.hidden));
      one.row.resize(shape.inner);
      one.inner.resize(static_cast<size_t>(kRowBlock) * shape.inner);
    }
  }

  void run(const Block* blocks, int count) {
    rows_task(nullptr, blocks);
    for (int i = 0; i < count; i++) {
      attend(blocks[i]);
      rows_task(blocks + i, i + 1 < count ? blocks + i + 1 : nullptr);
    }
  }

  // What is done token by token: the end of one block and the beginning of the next.
  void rows_task(const Block* left, const Block* entered) {
    const int64_t all_tokens = grid.tokens();
    threads.run(static_cast<int>((all_tokens + kRowBlock - 1) / kRowBlock), [&](int task, int thread) {
      const int64_t first = static_cast<int64_t>(task) * kRowBlock;
      const int count = static_cast<int>(std::min<int64_t>(all_tokens - first, kRowBlock));
      if (left != nullptr) leave(*left, first, count, scratch[thread]);
      if (entered != nullptr) enter(*entered, first, count, scratch[thread]);
    });
  }

  void enter(const Block& block, int64_t first, int count, Scratch& space) {
    normalized(block.norm1, first, count, space);
    float* output = qkv.data() + first * 3 * shape.hidden;
    multiply<P>(space.rows, count, block.qkv, space.partial, [&](int row, int column, const Panel& values) {
      float* to = output + static_cast<size_t>(row) * 3 * shape.hidden + column;
      for (int v = 0; v < kVectors; v++) store_past_caches(to + v * kLanes, values[v]);
    });
    finish_stores();
  }

  void leave(const Block& block, int64_t first, int count, Scratch& space) {
    const int hidden = shape.hidden, inner = shape.inner;
    float* residual = tokens + first * hidden;
    const auto add = [&](int row, int column, const Panel& values) {
      float* to = residual + static_cast<size_t>(row) * hidden + column;
      for (int v = 0; v < kVectors; v++) store(to + v * kLanes, load(to + v * kLanes) + values[v]);
    };
    for (int row = 0; row < count; row++) space.rows.set<P>(row, mixed.data() + (first + row) * hidden, hidden);
    multiply<P>(space.rows, count, block.out, space.partial, add);
    normalized(block.norm2, first, count, space);
    multiply<P>(space.rows, count, block.expand, space.partial, [&](int row, int column, const Panel& values) {
      float* to = space.inner.data() + static_cast<size_t>(column) * kRowBlock + static_cast<size_t>(row) * kPanel;
      for (int v = 0; v < kVectors; v++) store(to + v * kLanes, gelu(values[v]));
    });
    for (int row = 0; row < count; row++)
      space.rows.set<P>(row, space.inner.data() + static_cast<size_t>(row) * kPanel, inner, kRowBlock * kPanel);
    multiply<P>(space.rows, count, block.contract, space.partial, add);
  }

  void normalized(const Norm& norm, int64_t first, int count, Scratch& space) {
    for (int row = 0; row < count; row++) {
      normalize(tokens + (first + row) * shape.hidden, shape.hidden, norm, shape.epsilon, space.row.data());
      space.rows.set<P>(row, space.row.data(), shape.hidden);
    }
  }

  void attend(const Block& block) {
    const int rows = block.window ? block.window : grid.rows, columns = block.window ? block.window : grid.columns;
    const int down = (grid.rows + rows - 1) / rows, across = (grid.columns + columns - 1) / columns;
    // Where there are few heads for the threads, the queries of each are shared out too.
    const int windows = down * across, heads = grid.images * windows * shape.heads;
    const int wanted = kTasksPerThread * threads.count();
    const int parts = std::min((wanted + heads - 1) / heads, (rows * columns + kQueryBlock - 1) / kQueryBlock);
    const int queries = rounded_up((rows * columns + parts - 1) / parts, kQueryBlock);
    using Products = std::conditional_t<P::kPerWord == 1, Float32, Int16>;
    threads.run(heads * parts, [&](int task, int thread) {
      const int part = task % parts, head = task / parts % shape.heads;
      const int window = task / parts / shape.heads % windows, image = task / parts / shape.heads / windows;
      Attention<Products> attention{qkv.data(), mixed.data(), shape, grid, block, rows, columns, image, head,
                                    scratch[thread].attention};
      attention.run(window / across * rows, window % across * columns, part * queries, (part + 1) * queries);
    });
  }
};

static bool takes(const Shape& shape) {
  return shape.precision != Precision::kBFloat16 && shape.hidden % kPanel == 0 && shape.inner % kPanel == 0 &&
         shape.heads > 0 && shape.hidden % shape.heads == 0 && shape.hidden / shape.heads % kPanel == 0;
}

static size_t packed_bytes(Precision precision, int outputs, int inputs) {
  switch (precision) {
    case Precision::kFloat32: return Packed<Float32>::bytes(outputs, inputs);
    case Precision::kInt16: return Packed<Int16>::bytes(outputs, inputs);
    default: return Packed<Int8>::bytes(outputs, inputs);
  }
}

static void pack(Precision precision, int outputs, int inputs, const float* weights, uint8_t* packed) {
  switch (precision) {
    case Precision::kFloat32: return pack_matrix<Float32>(outputs, inputs, weights, packed);
    case Precision::kInt16: return pack_matrix<Int16>(outputs, inputs, weights, packed);
    default: return pack_matrix<Int8>(outputs, inputs, weights, packed);
  }
}

static void run(const Shape& shape, const Block* blocks, int count, const Grid& grid, float* tokens, Threads& threads) {
  switch (shape.precision) {
    case Precision::kFloat32: return Network<Float32>(shape, grid, tokens, threads).run(blocks, count);
    case Precision::kInt16: return Network<Int16>(shape, grid, tokens, threads).run(blocks, count);
    default: return Network<Int8>(shape, grid, tokens, threads).run(blocks, count);
  }
}
