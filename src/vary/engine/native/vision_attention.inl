// Attention of one head in one window, or in the whole grid, with decomposed relative positions:
// score(q, k) = scale q.k + q.R_h[row(q) - row(k)] + q.R_w[column(q) - column(k)].
// Keys come in blocks: no (N, N) matrix of scores stands anywhere.  P is Float32 or Int16; sums of products, scores
// and weights are floats in both.

constexpr int kQueryBlock = 48;
constexpr int kKeyBlock = 512;  // keys whose scores with the queries of a block stay in the second-level cache
static_assert(kQueryBlock % kTileRows == 0 && kKeyBlock % kPanel == 0, "whole tiles");

// What one thread works in.
struct AttentionSpace {
  Rows query_rows, key_row;
  Aligned<int32_t> keys, values;  // packed
  Aligned<float> key_scales, value_scales;
  Aligned<float> queries, scores, mixed, by_row, by_column;
  Aligned<int32_t> weights;
  Aligned<int64_t> tokens;  // of each place of the window, or -1 outside of the grid
  Aligned<int> places;      // those within
};

template <class P>
struct Attention {
  // `qkv` (T, 3 hidden) to `mixed` (T, hidden).
  const float* qkv;
  float* mixed;
  const Shape& shape;
  const Grid& grid;
  const Block& block;
  const int rows, columns;  // of the window
  const int image, head;
  AttentionSpace& space;

  const int hidden = shape.hidden, dim = hidden / shape.heads, words = dim / P::kPerWord;
  const int places = rows * columns, padded = rounded_up(places, kPanel);
  // Columns of the window that are the image's own; what is padded to a window's size takes part.
  const int own = block.window || grid.valid_columns == nullptr ? columns : grid.valid_columns[image];
  const int row_stride = rounded_up(block.table_rows, kPanel);
  const int column_stride = rounded_up(block.table_columns, kPanel);
  static constexpr int kScoreStride = kKeyBlock + kLanes;
  static constexpr int kWeightStride = kKeyBlock / P::kPerWord + 8;

  // Queries `first` to `last` - 1 of those in the window whose first token is (top, left).
  void run(int top, int left, int first, int last) {
    find_places(grid, image, top, left, rows, columns, own, space.tokens, space.places);
    pack_keys();
    pack_values();
    const int count = static_cast<int>(space.places.size());
    for (; first < last && first < count; first += kQueryBlock)
      mix(first, std::min({kQueryBlock, last - first, count - first}));
  }

 private:
  // What is taken of a place: 0 its query, 1 its key, 2 its value.  Outside the grid tokens are zeros, which makes
  // it the bias.
  const float* of(int place, int what) const {
    const int64_t token = space.tokens[place];
    const float* row = token < 0 ? block.qkv.bias : qkv + token * 3 * hidden;
    return row + what * hidden + head * dim;
  }

  // Panels (words, kPanel keys), as matrices are packed.
  void pack_keys() {
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
    space.keys.assign(static_cast<size_t>(padded) * words, 0);
    space.key_scales.assign(padded, 0);
    space.key_row.words.resize(words);
    for (int place = 0; place < places; place++) {
      space.key_row.set<P>(0, of(place, 1), dim);
      space.key_scales[place] = space.key_row.scales[0] * scale;
      int32_t* panel = space.keys.data() + static_cast<size_t>(place / kPanel) * kPanel * words + place % kPanel;
      for (int word = 0; word < words; word++) panel[word * kPanel] = space.key_row.words[word];
    }
  }

  // Panels (padded / kPerWord, kPanel channels): a word holds a channel of neighbouring keys.
  void pack_values() {
    space.values.assign(static_cast<size_t>(padded) / P::kPerWord * dim, 0);
    space.value_scales.assign(dim, 1.0f);
    if constexpr (P::kPerWord > 1) {
      for (int i = 0; i < dim; i += kLanes) {
        Floats most = all(1e-30f);
        for (int place = 0; place < places; place++) most = largest(most, absolute(load(of(place, 2) + i)));
        store(&space.value_scales[i], most * (1.0f / P::kInputs));
      }
    }
    for (int place = 0; place < places; place += P::kPerWord) {
      const float* first = of(place, 2);
      const float* second = place + 1 < places ? of(place + 1, 2) : nullptr;
      for (int i = 0; i < dim; i += kLanes) {
        int32_t* to = space.values.data() + static_cast<size_t>(i / kPanel) * kPanel * (padded / P::kPerWord) +
                      static_cast<size_t>(place / P::kPerWord) * kPanel + i % kPanel;
        if constexpr (P::kPerWord == 1) {
          store(to, (Integers)load(first + i));
        } else {
          const Floats scale = load(&space.value_scales[i]);
          const Integers low = to_integers(load(first + i) / scale);
          const Integers high = second == nullptr ? Integers{} : to_integers(load(second + i) / scale);
          store(to, (low & 0xffff) | (high << 16));
        }
      }
    }
  }

  void mix(int first, int count) {
    space.queries.assign(static_cast<size_t>(kQueryBlock) * dim, 0);
    space.query_rows.words.assign(static_cast<size_t>(kQueryBlock) * words, 0);
    for (int i = 0; i < count; i++) {
      const float* query = of(space.places[first + i], 0);
      std::copy(query, query + dim, &space.queries[static_cast<size_t>(i) * dim]);
      space.query_rows.set<P>(i, query, dim);
    }
    position_scores(block.row_table, row_stride, space.by_row, count);
    position_scores(block.column_table, column_stride, space.by_column, count);
    space.scores.resize(static_cast<size_t>(kQueryBlock) * kScoreStride);
    space.weights.resize(static_cast<size_t>(kQueryBlock) * kWeightStride);
    space.mixed.assign(static_cast<size_t>(kQueryBlock) * dim, 0);
    Softmax softmax[kQueryBlock];
    for (int key = 0; key < padded; key += kKeyBlock) {
      const int keys = std::min(padded - key, kKeyBlock);
      for (int i = 0; i < count; i++) start(i, space.places[first + i], key, keys);
      add_scores(count, key, keys);
      for (int i = 0; i < count; i++) weigh(i, keys, softmax[i]);
      add_values(count, key, keys, softmax);
    }
    for (int i = 0; i < count; i++) {
      float* to = mixed + space.tokens[space.places[first + i]] * hidden + head * dim;
      const float* from = &space.mixed[static_cast<size_t>(i) * dim];
      for (int c = 0; c < dim; c += kLanes) store(to + c, load(from + c) * (1.0f / softmax[i].total));
    }
  }

  // The products of the queries with all relative positions of an axis.
  void position_scores(const float* table, int stride, Aligned<float>& output, int count) {
    output.resize(static_cast<size_t>(kQueryBlock) * stride + kLanes);
    for (int panel = 0; panel < stride; panel += kPanel) {
      for (int i = 0; i < count; i += kTileRows) {
        Floats sums[kTileRows][kVectors] = {};
        add_tile<Float32>((const int32_t*)&space.queries[static_cast<size_t>(i) * dim], dim,
                          (const int32_t*)table + static_cast<size_t>(panel) * dim, dim, sums);
        for (int row = 0; row < kTileRows; row++)
          for (int v = 0; v < kVectors; v++)
            store(&output[static_cast<size_t>(i + row) * stride + panel + v * kLanes], sums[row][v]);
      }
    }
  }

  // The scores of one query begin as what `keys` keys from `key` on have by their rows and columns.
  void start(int query, int place, int key, int keys) {
    const float* by_row =
        &space.by_row[static_cast<size_t>(query) * row_stride] + (block.table_rows / 2 - place / columns);
    const float* by_column =
        &space.by_column[static_cast<size_t>(query) * column_stride] + (block.table_columns / 2 - place % columns);
    float* scores = &space.scores[static_cast<size_t>(query) * kScoreStride];
    start_scores(scores, by_row, by_column, columns, own, key, keys, places);
  }

  void add_scores(int count, int key, int keys) {
    for (int panel = 0; panel < keys; panel += kPanel) {
      const float* scales = &space.key_scales[key + panel];
      for (int i = 0; i < count; i += kTileRows) {
        typename P::Sum sums[kTileRows][kVectors] = {};
        add_tile<P>(&space.query_rows.words[static_cast<size_t>(i) * words], words,
                    &space.keys[static_cast<size_t>(key + panel) * words], words, sums);
#pragma GCC unroll 16
        for (int row = 0; row < kTileRows; row++) {
          float* scores = &space.scores[static_cast<size_t>(i + row) * kScoreStride + panel];
          const Floats scale = all(space.query_rows.scales[i + row]);
#pragma GCC unroll 16
          for (int v = 0; v < kVectors; v++) {
            float* to = scores + v * kLanes;
            store(to, fma(to_floats(sums[row][v]), scale * load(scales + v * kLanes), load(to)));
          }
        }
      }
    }
  }

  // The softmax of one query so far: its largest score and the sum of e^(score - most).  What the last block of keys
  // gave and what was mixed before are multiplied with `fresh` and `old` as they are added.
  struct Softmax {
    float most = kMasked, total = 0, fresh = 0, old = 0;
  };

  // The scores of one query with a block of keys become weights, relative to the largest of the block.
  void weigh(int query, int keys, Softmax& softmax) {
    float* scores = &space.scores[static_cast<size_t>(query) * kScoreStride];
    Floats greatest = all(kMasked);
    for (int i = 0; i < keys; i += kLanes) greatest = largest(greatest, load(scores + i));
    const float here = largest_of(greatest);
    Floats sums = all(0);
    for (int i = 0; i < keys; i += kLanes) {
      const Floats weight = exponential(load(scores + i) - here);
      store(scores + i, weight);
      sums += weight;
    }
    const float total = sum(sums), most = std::max(softmax.most, here);
    softmax.old = std::exp(softmax.most - most);
    softmax.fresh = std::exp(here - most);
    softmax.total = softmax.total * softmax.old + total * softmax.fresh;
    softmax.most = most;
    if constexpr (P::kPerWord > 1) {
      // The sum of the weights times the largest value has to fit into 32 bits.
      const float scale = std::min(32767.0f, 1048576.0f / total);
      auto* weights = reinterpret_cast<int16_t*>(&space.weights[static_cast<size_t>(query) * kWeightStride]);
      for (int i = 0; i < keys; i += kLanes) store_integers(weights + i, to_integers(load(scores + i) * scale));
      softmax.fresh /= scale;
    }
  }

  void add_values(int count, int key, int keys, const Softmax* softmax) {
    const bool floats = P::kPerWord == 1;
    const int32_t* weights = floats ? (const int32_t*)space.scores.data() : space.weights.data();
    const int stride = floats ? kScoreStride : kWeightStride;
    for (int panel = 0; panel < dim; panel += kPanel) {
      const int32_t* values =
          &space.values[(static_cast<size_t>(panel) * padded + static_cast<size_t>(key) * kPanel) / P::kPerWord];
      for (int i = 0; i < count; i += kTileRows) {
        typename P::Sum sums[kTileRows][kVectors] = {};
        add_tile<P>(weights + static_cast<size_t>(i) * stride, stride, values, keys / P::kPerWord, sums);
#pragma GCC unroll 16
        for (int row = 0; row < kTileRows; row++) {
          float* to = &space.mixed[static_cast<size_t>(i + row) * dim + panel];
          const Softmax& factors = softmax[i + row];
          for (int v = 0; v < kVectors; v++) {
            const Floats scale = load(&space.value_scales[panel + v * kLanes]) * factors.fresh;
            const Floats before = load(to + v * kLanes) * factors.old;
            store(to + v * kLanes, fma(to_floats(sums[row][v]), scale, before));
          }
        }
      }
    }
  }
};
