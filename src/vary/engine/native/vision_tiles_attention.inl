// Attention of one head in one window, or in the whole grid, as in vision_attention.inl, by tiles: scores are powers of
// two, so queries and relative positions are multiplied with log2(e) beforehand.

constexpr int kTileKeyBlock = 128;  // keys whose scores with the queries of a square stay in the first-level cache
constexpr float kLog2E = 1.44269504f;
constexpr float kRise = 16;  // scores may be as much larger than what weights are relative to

// What weights are relative to, the sum of weights so far, and what all that is mixed is multiplied with before the
// part of the next block of keys is added.
struct TileSoftmax {
  float most = kMasked, old = 1;
  Floats total = all(0);
};

// A square's queries on their way.
struct TileQueries {
  int first, count;
  Aligned<uint16_t> cells;
  Aligned<float> by_row, by_column, mixed;
  int row_at[kSquare], column_at[kSquare];  // where in these is what a query has with the first key
  TileSoftmax softmax[kSquare];
};

// What one thread works in.  Three things happen at once: the scores of some queries with a block of keys, the weights
// of those before and the mixing of those before these.
struct TileSpace {
  Aligned<uint16_t> keys, values, outside, row_table, column_table;
  TileQueries queries[3];
  Aligned<float> scores[2], biases;
  Aligned<uint16_t> weights[2];
  Aligned<int64_t> tokens;  // of each place of the window, or -1 outside of the grid
  Aligned<int> places;      // those within
};

struct TileAttention {
  // `qkv` (3, heads, T, head_dim), queries scaled, to `mixed` (T, hidden) in blocks of rows.
  const uint16_t* qkv;
  uint16_t* mixed;
  const Shape& shape;
  const Grid& grid;
  const Block& block;
  const int rows, columns;  // of the window
  const int image, head;
  TileSpace& space;

  const int hidden = shape.hidden, dim = hidden / shape.heads;
  const int places = rows * columns, padded = rounded_up(places, kSquare);
  const int own = block.window || grid.valid_columns == nullptr ? columns : grid.valid_columns[image];
  const int row_stride = rounded_up(block.table_rows, kSquare);
  const int column_stride = rounded_up(block.table_columns, kSquare);
  static constexpr int kScoreStride = kTileKeyBlock + kLanes;

  void run(int top, int left, int first, int last) {
    find_places(grid, image, top, left, rows, columns, own, space.tokens, space.places);
    const int count = static_cast<int>(space.places.size());
    if (first >= count) return;
    space.outside.resize(3 * dim);
    for (int what = 0; what < 3; what++)
      for (int c = 0; c < dim; c += kDepth)
        store_bfloat16(&space.outside[what * dim + c], load(block.qkv.bias + what * hidden + head * dim + c),
                       load(block.qkv.bias + what * hidden + head * dim + c + kLanes));
    pack_keys();
    pack_values();
    pack_table(block.row_table, block.table_rows, row_stride, space.row_table);
    pack_table(block.column_table, block.table_columns, column_stride, space.column_table);
    for (TileQueries& queries : space.queries) {
      queries.cells.resize(static_cast<size_t>(kSquare) * dim);
      queries.by_row.resize(static_cast<size_t>(kSquare) * row_stride);
      queries.by_column.resize(static_cast<size_t>(kSquare) * column_stride + kLanes);
      queries.mixed.resize(static_cast<size_t>(kSquare) * dim);
    }
    for (int i = 0; i < 2; i++) {
      space.scores[i].resize(static_cast<size_t>(kSquare) * kScoreStride);
      space.weights[i].resize(static_cast<size_t>(kSquare) * kTileKeyBlock);
    }
    space.biases.resize(kScoreStride);
    const ProductTiles tiles;
    mix(first, std::min(last, count));
  }

 private:
  // What is taken of a place: 0 its query, 1 its key, 2 its value.  Outside the grid tokens are zeros, which makes
  // it the bias.
  const uint16_t* of(int place, int what) const {
    const int64_t token = space.tokens[place];
    if (token < 0) return &space.outside[what * dim];
    return qkv + ((static_cast<int64_t>(what) * shape.heads + head) * grid.tokens() + token) * dim;
  }

  // Panels (dim / 2, kTile keys), as matrices are packed.
  void pack_keys() {
    space.keys.assign(static_cast<size_t>(padded) * dim, 0);
    for (int place = 0; place < places; place++) {
      const uint16_t* key = of(place, 1);
      uint16_t* to = &space.keys[static_cast<size_t>(place / kTile) * kTile * dim + place % kTile * 2];
      for (int c = 0; c < dim; c += 2, to += kDepth) std::memcpy(to, key + c, 4);
    }
  }

  // Panels (padded / 2, kTile channels): a word holds a channel of neighbouring keys.
  void pack_values() {
    space.values.assign(static_cast<size_t>(padded) * dim, 0);
    for (int place = 0; place < places; place += 2) {
      const uint16_t* first = of(place, 2);
      const uint16_t* second = place + 1 < places ? of(place + 1, 2) : nullptr;
      for (int c = 0; c < dim; c += kLanes) {
        const Integers low = load_halves(first + c);
        const Integers high = second == nullptr ? Integers{} : load_halves(second + c);
        store(reinterpret_cast<int32_t*>(&space.values[static_cast<size_t>(c) * padded + place * kTile]),
              low | high << 16);
      }
    }
  }

  // Relative positions (stride / kTile, dim, kTile) to panels (dim / 2, kTile positions).  Queries are scaled already,
  // for which this makes up.
  void pack_table(const float* table, int length, int stride, Aligned<uint16_t>& packed) {
    const float scale = std::sqrt(static_cast<float>(dim));
    packed.assign(static_cast<size_t>(stride) * dim, 0);
    for (int panel = 0; panel < length; panel += kTile)
      for (int c = 0; c < dim; c++)
        for (int lane = 0; lane < kTile; lane++)
          packed[static_cast<size_t>(panel) * dim + c / 2 * kDepth + lane * 2 + c % 2] =
              to_bfloat16(table[static_cast<size_t>(panel) * dim + c * kTile + lane] * scale);
  }

  // Some queries with a block of keys; scores, weights and what is mixed with them follow each other in three stages.
  struct Unit {
    TileQueries* queries;
    int key, keys;  // filled up to a square
    float* scores;
    uint16_t* weights;
  };

  Unit unit(int number, int blocks) const {
    const int square = number / blocks, key = number % blocks * kTileKeyBlock;
    return {&space.queries[square % 3], key, std::min(padded - key, kTileKeyBlock), space.scores[number % 2].data(),
            space.weights[number % 2].data()};
  }

  void mix(int first, int last) {
    const int blocks = (padded + kTileKeyBlock - 1) / kTileKeyBlock;
    const int units = (last - first + kSquare - 1) / kSquare * blocks;
    for (int now = 0; now < units + 2; now++) {
      const Unit scored = unit(now, blocks), weighed = unit(std::max(now - 1, 0), blocks);
      const Unit mixed = unit(std::max(now - 2, 0), blocks);
      const bool scores = now < units, weighs = now >= 1 && now <= units, mixes = now >= 2;
      if (scores && scored.key == 0) {
        const int begin = first + now / blocks * kSquare;
        enter(*scored.queries, begin, std::min(kSquare, last - begin));
      }
      if (mixes) rescale(*mixed.queries);
      const auto work = [&](int query) { weigh(weighed, query); };
      const int steps = dim / kDepth * ((scores ? scored.keys : 0) + (mixes ? mixed.keys : 0)) / kSquare;
      Meanwhile<decltype(work)> meanwhile{work, weighs ? weighed.queries->count : 0, steps};
      before_tiles_load();
      if (scores) add_scores(scored, meanwhile);
      if (mixes) add_values(mixed, meanwhile);
      meanwhile.finish();
      if (mixes && mixed.key + mixed.keys == padded) leave(*mixed.queries);
    }
  }

  void enter(TileQueries& queries, int first, int count) {
    queries.first = first;
    queries.count = count;
    for (int i = 0; i < count; i++) {
      const int place = space.places[first + i];
      const uint16_t* query = of(place, 0);
      for (int c = 0; c < dim; c += kDepth)
        std::memcpy(&queries.cells[cell(i, c, dim)], query + c, kDepth * sizeof(uint16_t));
      queries.row_at[i] = i * row_stride + block.table_rows / 2 - place / columns;
      queries.column_at[i] = i * column_stride + block.table_columns / 2 - place % columns;
      queries.softmax[i] = {};
    }
    position_scores(queries, space.row_table, row_stride, queries.by_row);
    position_scores(queries, space.column_table, column_stride, queries.by_column);
    std::fill(queries.mixed.begin(), queries.mixed.end(), 0.0f);
  }

  void leave(const TileQueries& queries) {
    for (int i = 0; i < queries.count; i++) {
      const int64_t token = space.tokens[space.places[queries.first + i]];
      const Floats factor = all(1.0f / sum(queries.softmax[i].total));
      const float* from = &queries.mixed[static_cast<size_t>(i) * dim];
      for (int c = 0; c < dim; c += kDepth)
        store_bfloat16(mixed + cell(token, head * dim + c, hidden), load(from + c) * factor,
                       load(from + c + kLanes) * factor);
    }
  }

  // Before the values of a block of keys are added.
  void rescale(TileQueries& queries) {
    for (int i = 0; i < queries.count; i++) {
      if (queries.softmax[i].old == 1) continue;
      float* mixed = &queries.mixed[static_cast<size_t>(i) * dim];
      for (int c = 0; c < dim; c += kLanes) store(mixed + c, load(mixed + c) * queries.softmax[i].old);
      queries.softmax[i].old = 1;
    }
  }

  // The products of the queries with all relative positions of an axis.
  void position_scores(const TileQueries& queries, const Aligned<uint16_t>& table, int stride, Aligned<float>& output) {
    const size_t pitch = static_cast<size_t>(kTile) * dim;
    Nothing nothing;
    before_tiles_load();
    for (int position = 0; position < stride; position += kSquare) {
      clear_sums();
      const uint16_t* panels = &table[static_cast<size_t>(position) * dim];
      add_square(queries.cells.data(), pitch, panels, pitch, dim / kDepth, nothing);
      store_sums(&output[position], stride);
    }
  }

  template <class Meanwhile>
  void add_scores(const Unit& unit, Meanwhile& meanwhile) {
    const size_t pitch = static_cast<size_t>(kTile) * dim;
    for (int panel = 0; panel < unit.keys; panel += kSquare) {
      clear_sums();
      add_square(unit.queries->cells.data(), pitch, &space.keys[static_cast<size_t>(unit.key + panel) * dim], pitch,
                 dim / kDepth, meanwhile);
      store_sums(unit.scores + panel, kScoreStride);
    }
  }

  template <class Meanwhile>
  void add_values(const Unit& unit, Meanwhile& meanwhile) {
    for (int c = 0; c < dim; c += kSquare) {
      load_sums(&unit.queries->mixed[c], dim);
      add_square(unit.weights, static_cast<size_t>(kTile) * kTileKeyBlock,
                 &space.values[static_cast<size_t>(c) * padded + static_cast<size_t>(unit.key) * kTile],
                 static_cast<size_t>(kTile) * padded, unit.keys / kDepth, meanwhile);
      store_sums(&unit.queries->mixed[c], dim);
    }
  }

  void weigh(const Unit& unit, int query) {
    switch (unit.keys / kDepth) {
      case 1: return weigh<2>(unit, query);
      case 2: return weigh<4>(unit, query);
      case 3: return weigh<6>(unit, query);
      default: return weigh<8>(unit, query);
    }
  }

  // The scores of one query with a block of keys, in so many vectors, become weights.  They are relative to the largest
  // score of the first block, or of a later one that is much larger.
  template <int kCount>
  void weigh(const Unit& unit, int query) {
    TileQueries& queries = *unit.queries;
    TileSoftmax& softmax = queries.softmax[query];
    Floats scores[kCount], greatest = all(kMasked);
    add_positions<kCount>(unit, query, scores);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; i++) greatest = largest(greatest, scores[i]);
    if (any_above(greatest, softmax.most + kRise)) {
      const float most = largest_of(greatest);
      softmax.old = std::exp2(softmax.most - most);
      softmax.total *= softmax.old;
      softmax.most = most;
    }
    const Floats most = all(softmax.most);
    Floats total = softmax.total;
    uint16_t* weights = unit.weights + cell(query, 0, kTileKeyBlock);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; i += 2, weights += kTileCells) {
      const Floats low = power_of_two(scores[i] - most), high = power_of_two(scores[i + 1] - most);
      total += low + high;
      store_bfloat16(weights, low, high);
    }
    softmax.total = total;
  }

  // The products of a query with keys, and what these have by their rows and columns.
  template <int kCount>
  void add_positions(const Unit& unit, int query, Floats* scores) {
    const float* products = unit.scores + static_cast<size_t>(query) * kScoreStride;
    const float* by_row = unit.queries->by_row.data() + unit.queries->row_at[query];
    const float* by_column = unit.queries->by_column.data() + unit.queries->column_at[query];
    int row = unit.key / columns, column = unit.key % columns;
    if (columns % kSquare == 0 && own == columns) {  // no vector has keys of two rows, or others
#pragma GCC unroll 8
      for (int i = 0; i < kCount; i++) {
        scores[i] = load(products + i * kLanes) + (load(by_column + column) + by_row[row]);
        column += kLanes;
        if (column == columns) {
          column = 0;
          row++;
        }
      }
      return;
    }
    float* biases = space.biases.data();
    start_scores(biases, by_row, by_column, columns, own, unit.key, unit.keys, places);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; i++) scores[i] = load(products + i * kLanes) + load(biases + i * kLanes);
  }
};
