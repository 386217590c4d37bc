// The network by tiles, in bfloat16: as vision_network.inl, but that rows go from one product to the next in blocks.

// What one thread works in.
struct TileScratch {
  Aligned<uint16_t> rows, inner;  // in blocks
  Aligned<float> row;
  TileSpace attention;
};

constexpr int kTileTasks = 4;  // of each thread

struct TileNetwork {
  const Shape& shape;
  const Grid& grid;
  float* tokens;  // (T, hidden)
  Aligned<uint16_t> qkv, mixed;  // (3, heads, T, head_dim), (T, hidden) in blocks
  std::vector<TileScratch, CacheLines<TileScratch>> scratch;
  Threads& threads;
  const int row_block;

  TileNetwork(const Shape& shape, const Grid& grid, float* tokens, Threads& threads)
      : shape(shape), grid(grid), tokens(tokens), qkv(static_cast<size_t>(grid.tokens()) * 3 * shape.hidden),
        mixed(static_cast<size_t>((grid.tokens() + kSquare - 1) / kSquare * kSquare) * shape.hidden),
        scratch(threads.count()), threads(threads), row_block(rows_of_a_task(grid.tokens(), threads.count())) {
    for (auto& one : scratch) {
      one.rows.resize(static_cast<size_t>(row_block) * shape.hidden);
      one.inner.resize(static_cast<size_t>(row_block) * shape.inner);
      one.row.resize(shape.hidden);
    }
  }

  static int rows_of_a_task(int64_t all_tokens, int threads) {
    const int64_t fair = all_tokens / (static_cast<int64_t>(threads) * kTileTasks);
    return rounded_up(static_cast<int>(std::min<int64_t>(std::max<int64_t>(fair, 1), kTileRowBlock)), kSquare);
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
    threads.run(static_cast<int>((all_tokens + row_block - 1) / row_block), [&](int task, int thread) {
      const ProductTiles tiles;
      const int64_t first = static_cast<int64_t>(task) * row_block;
      const int count = static_cast<int>(std::min<int64_t>(all_tokens - first, row_block));
      if (left != nullptr) leave(*left, first, count, scratch[thread]);
      if (entered != nullptr) enter(*entered, first, count, scratch[thread]);
    });
  }

  void enter(const Block& block, int64_t first, int count, TileScratch& space) {
    const int hidden = shape.hidden, dim = hidden / shape.heads;
    const float scale = kLog2E / std::sqrt(static_cast<float>(dim));
    normalized(block.norm1, first, count, space);
    multiply(space.rows.data(), count, block.qkv, [&](int row, int output, Floats low, Floats high) {
      const float factor = output < hidden ? scale : 1.0f;
      const int64_t head = output / dim;  // of all queries, keys and values
      store_bfloat16(&qkv[(head * grid.tokens() + first + row) * dim + output % dim], low * factor, high * factor);
    });
  }

  void leave(const Block& block, int64_t first, int count, TileScratch& space) {
    const int hidden = shape.hidden, inner = shape.inner;
    float* residual = tokens + first * hidden;
    const auto add = [&](int row, int output, Floats low, Floats high) {
      float* to = residual + static_cast<size_t>(row) * hidden + output;
      store(to, load(to) + low);
      store(to + kLanes, load(to + kLanes) + high);
    };
    multiply(&mixed[static_cast<size_t>(first) * hidden], count, block.out, add);
    normalized(block.norm2, first, count, space);
    multiply(space.rows.data(), count, block.expand, [&](int row, int output, Floats low, Floats high) {
      store_bfloat16(&space.inner[cell(row, output, inner)], gelu_nearly(low), gelu_nearly(high));
    });
    multiply(space.inner.data(), count, block.contract, add);
  }

  void normalized(const Norm& norm, int64_t first, int count, TileScratch& space) {
    for (int row = 0; row < count; row++) {
      normalize(tokens + (first + row) * shape.hidden, shape.hidden, norm, shape.epsilon, space.row.data());
      for (int i = 0; i < shape.hidden; i += kDepth)
        store_bfloat16(&space.rows[cell(row, i, shape.hidden)], load(&space.row[i]), load(&space.row[i + kLanes]));
    }
  }

  void attend(const Block& block) {
    const int rows = block.window ? block.window : grid.rows, columns = block.window ? block.window : grid.columns;
    const int down = (grid.rows + rows - 1) / rows, across = (grid.columns + columns - 1) / columns;
    // Where there are few heads for the threads, the queries of each are shared out too.
    const int windows = down * across, heads = grid.images * windows * shape.heads;
    const int wanted = 8 * threads.count();
    const int parts = std::min((wanted + heads - 1) / heads, (rows * columns + kSquare - 1) / kSquare);
    const int queries = rounded_up((rows * columns + parts - 1) / parts, kSquare);
    threads.run(heads * parts, [&](int task, int thread) {
      const int part = task % parts, head = task / parts % shape.heads;
      const int window = task / parts / shape.heads % windows, image = task / parts / shape.heads / windows;
      TileAttention attention{qkv.data(), mixed.data(), shape, grid, block, rows, columns, image, head,
                              scratch[thread].attention};
      attention.run(window / across * rows, window % across * columns, part * queries, (part + 1) * queries);
    });
  }
};
