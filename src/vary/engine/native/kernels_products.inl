// Products of a matrix with tokens; included by kernels.inl.

constexpr int kVectors = kBlockRows / kLanes;  // of one column of a block
constexpr int kGroup = 4;                      // blocks of floats, at most, that take their turns together
constexpr int kFloatsAhead = 2048;             // bytes of each that are fetched before their turn

static inline Floats load_weight(const float* from) { return load(from); }
static inline Floats load_weight(const uint16_t* from) { return load_bfloat16(from); }

// A sum waits for the one before it, so with few tokens several blocks are under way.
constexpr int blocks_at_once(int tokens) {
  const int most = 8 / (tokens * kVectors);
  return most >= kGroup ? kGroup : most >= 2 ? 2 : 1;
}

// Blocks of `columns` columns, which begin `pitch` weights after each other.
template <int kTokens, int kBlocks, class Weight>
static inline void float_products(const Weight* weights, size_t pitch, int columns, const Rows& rows, int token,
                                  float (*sums)[kTokens][kBlockRows]) {
  const float* values = rows.floats + static_cast<size_t>(token) * rows.stride;
  const size_t stride = rows.stride;
  Floats total[kBlocks][kTokens][kVectors]{};
  for (int k = 0; k < columns; k++, weights += kBlockRows, values++) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; b++) {
      const Weight* from = weights + b * pitch;
      if (kBlocks > 1) __builtin_prefetch(reinterpret_cast<const char*>(from) + kFloatsAhead);
      Floats weight[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) weight[v] = load_weight(from + v * kLanes);
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; t++) {
        const Floats value = all(values[t * stride]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) total[b][t][v] = fma(weight[v], value, total[b][t][v]);
      }
    }
  }
  for (int b = 0; b < kBlocks; b++)
    for (int t = 0; t < kTokens; t++)
      for (int v = 0; v < kVectors; v++) store(sums[b][t] + v * kLanes, total[b][t][v]);
}

// The sums of one token and block, and of the values beside them where those are gates, to their place.
static inline void write_out(const float* sums, const float* values, const Output& output, int token, int block) {
  const int first = block * kBlockRows, count = output.size - first;
  float* to = output.values + static_cast<size_t>(token) * output.size + first;
  const float* bias = output.bias == nullptr ? nullptr : output.bias + first;
  float part[kBlockRows] = {}, part_bias[kBlockRows] = {};
  const bool whole = count >= kBlockRows;  // else the last block is filled up, and goes through memory of its own
  if (!whole && output.then == Then::kAdd) std::memcpy(part, to, sizeof(float) * count);
  if (!whole && bias != nullptr) bias = static_cast<float*>(std::memcpy(part_bias, bias, sizeof(float) * count));
  float* place = whole ? to : part;
  for (int v = 0; v < kBlockRows; v += kLanes) {
    Floats value = load(sums + v);
    if (output.then == Then::kSwiGlu) value = value / (exponential(-value) + 1.0f) * load(values + v);
    else if (output.then == Then::kAdd) value = load(place + v) + value;
    else if (bias != nullptr) value += load(bias + v);
    store(place + v, value);
  }
  if (!whole) std::memcpy(to, part, sizeof(float) * count);
}

// The sums of some blocks; two neighbours make one where they are gates and values.
template <int kTokens>
static inline void write_blocks(const float (*sums)[kTokens][kBlockRows], const Output& output, int token, int block,
                                int blocks) {
  const bool pair = output.then == Then::kSwiGlu;
  for (int b = 0; b < blocks; b += pair ? 2 : 1)
    for (int t = 0; t < kTokens; t++)
      write_out(sums[b][t], sums[b + pair][t], output, token + t, pair ? (block + b) / 2 : block + b);
}

template <int kTokens, class With>
static inline void last_tile(int tokens, int token, const With& with) {
  if constexpr (kTokens > 0) {
    if (tokens == kTokens) with(std::integral_constant<int, kTokens>(), token);
    else last_tile<kTokens - 1>(tokens, token, with);
  }
}

// Calls with(how many, first token), how many as a constant, for tiles of tokens and for what is left of them.
template <class With>
static inline void by_tiles(int tokens, const With& with) {
  int token = 0;
  for (; token + kTile <= tokens; token += kTile) with(std::integral_constant<int, kTile>(), token);
  last_tile<kTile - 1>(tokens - token, token, with);
}

template <class Weight>
static void multiply_floats(const Matrix& matrix, const Rows& rows, int tokens, int first, int last,
                            const Output& output) {
  static thread_local Aligned<float> wide;
  const size_t pitch = static_cast<size_t>(matrix.columns) * kBlockRows;
  const bool few = tokens <= kTile;
  const int group = tokens < kTile ? kGroup : output.then == Then::kSwiGlu ? 2 : 1;
  for (int block = first; block < last; block += group) {
    const int blocks = std::min(group, last - block);
    const Weight* weights = reinterpret_cast<const Weight*>(matrix.values + matrix.block_bytes() * block);
    const auto multiply_with = [&](const auto* from) {
      by_tiles(tokens, [&](auto number, int token) {
        constexpr int kTokens = number, kBlocks = blocks_at_once(kTokens);
        alignas(64) float sums[kGroup][kTokens][kBlockRows];
        int b = 0;
        for (; b + kBlocks <= blocks; b += kBlocks)
          float_products<kTokens, kBlocks>(from + b * pitch, pitch, matrix.columns, rows, token, sums + b);
        for (; b < blocks; b++)
          float_products<kTokens, 1>(from + b * pitch, pitch, matrix.columns, rows, token, sums + b);
        write_blocks<kTokens>(sums, output, token, block, blocks);
      });
    };
    if (sizeof(Weight) == sizeof(float) || few) {
      multiply_with(weights);
    } else {  // widened once and not for every tile
      wide.resize(blocks * pitch);
      for (size_t i = 0; i < wide.size(); i += kLanes) store(&wide[i], load_weight(weights + i));
      multiply_with(wide.data());
    }
  }
}

static void multiply_integers(const Matrix& matrix, const Rows& rows, int tokens, int first, int last,
                              const Output& output) {
  const int group = tokens < kTile ? kGroup : output.then == Then::kSwiGlu ? 2 : 1;
  for (int block = first; block < last; block += group) {
    const int blocks = std::min(group, last - block);
    by_tiles(tokens, [&](auto number, int token) {
      constexpr int kTokens = number, kBlocks = integer_blocks(kTokens);
      alignas(64) float sums[kGroup][kTokens][kBlockRows];
      int b = 0;
      for (; b + kBlocks <= blocks; b += kBlocks)
        integer_products<kTokens, kBlocks>(matrix, block + b, rows, token, sums + b);
      for (; b < blocks; b++) integer_products<kTokens, 1>(matrix, block + b, rows, token, sums + b);
      write_blocks<kTokens>(sums, output, token, block, blocks);
    });
  }
}

static void multiply(const Matrix& matrix, const Rows& rows, int tokens, int first, int last, const Output& output) {
  const auto with = is_integer(matrix.kind)             ? multiply_integers
                    : matrix.kind == Kind::kFloat32 ? multiply_floats<float>
                                                    : multiply_floats<uint16_t>;
  with(matrix, rows, tokens, first, last, output);
}
