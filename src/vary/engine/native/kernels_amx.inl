// Products of integers by tiles: 16 tokens times the 16 rows of a block, a group of columns at a time, whose sums are
// scaled and added up by vectors.

constexpr int kTileTokens = 16, kTileColumns = 64;
constexpr int kFewest = 8;  // tokens: for fewer, vectors are as fast
constexpr int kSpreadAhead = 2;
constexpr int kChunk = 4;   // blocks whose nibbles are spread out before all tokens take their turns

// The compiler wants digits for tiles: 0 and 2 are the sums and rows of a whole tile of tokens, 1 and 3 those of the
// last one, which has as many as are left, and 4 the weights.

// What one thread works in.
struct TileSpace {
  Aligned<int8_t> bytes;      // nibbles of kChunk blocks, spread out
  std::vector<float> scales;  // of each tile of tokens (group, token)
};

// Nibbles as bytes with signs, in the order of tiles: of each 4 columns the 16 rows' side by side.
static inline void spread(const uint8_t* from, int columns, int8_t* to) {
  const __m512i low = _mm512_set1_epi8(15), offset = _mm512_set1_epi8(8);
  for (int k = 0; k < columns; k += 8, from += 64, to += 128) {
    _mm_prefetch(reinterpret_cast<const char*>(from + kAhead), _MM_HINT_T0);
    const __m512i bytes = _mm512_loadu_si512(from);
    _mm512_storeu_si512(to, _mm512_sub_epi8(_mm512_and_si512(bytes, low), offset));
    _mm512_storeu_si512(to + 64, _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(bytes, 4), low), offset));
  }
}

// sums (tokens, kBlockRows) = rows (tokens, columns) times bytes (columns / 4, kBlockRows, 4).
template <bool kWhole>
static inline void sum_tile(const int8_t* rows, size_t stride, const int8_t* bytes, int columns, int32_t* sums) {
  before_tiles_load();
  if constexpr (kWhole) _tile_zero(0);
  else _tile_zero(1);
  for (int k = 0; k < columns; k += kTileColumns) {
    _tile_loadd(4, bytes + k * kBlockRows, 64);
    if constexpr (kWhole) {
      _tile_loadd(2, rows + k, stride);
      _tile_dpbssd(0, 2, 4);
    } else {
      _tile_loadd(3, rows + k, stride);
      _tile_dpbssd(1, 3, 4);
    }
  }
  if constexpr (kWhole) _tile_stored(0, sums, 64);
  else _tile_stored(1, sums, 64);
}

// A block's weights as tiles take them: bytes as they are, nibbles spread out `kSpreadAhead` groups before their turn, as
// tiles wait for stores that are not done.  Where only one tile of tokens needs them a few places do, which stay in the
// first-level cache.
template <bool kNibbles>
struct BlockTiles {
  static constexpr int kPlaces = 4;
  const uint8_t* values;
  int group, groups;
  int8_t* place;   // of nibbles
  bool ready;      // whether they are spread out already
  bool few;

  int8_t* spread_place(int g) const { return place + (few ? g % kPlaces : g) * group * kBlockRows; }
  const int8_t* of(int g) const {
    return kNibbles ? spread_place(g) : reinterpret_cast<const int8_t*>(values) + g * group * kBlockRows;
  }
  void prepare(int g) const {
    if (!kNibbles || ready || g >= groups) return;
    spread(values + g * (group * kBlockRows / 2), group, spread_place(g));
  }
};

// One block for the tokens of a tile.  Where they are fewer than kTokens the other rows come out as anything.
template <int kTokens, bool kWhole, bool kNibbles>
static void tile_products(const Matrix& matrix, int block, const int8_t* rows, const float* scales,
                          const BlockTiles<kNibbles>& tiles, float (*sums)[kBlockRows]) {
  const int groups = matrix.groups(), group = matrix.group;
  const size_t stride = matrix.padded_columns();
  const uint16_t* weight_scales = matrix.scales + static_cast<size_t>(block) * groups * kBlockRows;
  alignas(64) int32_t counts[2][kTileTokens * kBlockRows];
  Floats totals[kTokens];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; t++) totals[t] = Floats{};
  for (int g = 0; g < kSpreadAhead; g++) tiles.prepare(g);
  // Sums of a group are read one turn after they were stored.
  sum_tile<kWhole>(rows, stride, tiles.of(0), group, counts[0]);
  for (int g = 0; g < groups; g++, weight_scales += kBlockRows, scales += kTileTokens) {
    tiles.prepare(g + kSpreadAhead);
    rows += group;
    if (g + 1 < groups) sum_tile<kWhole>(rows, stride, tiles.of(g + 1), group, counts[(g + 1) % 2]);
    const int32_t* from = counts[g % 2];
    const Floats scale = load_half(weight_scales);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; t++)
      totals[t] = fma(to_floats((Integers)_mm512_load_si512(from + t * kBlockRows)), scale * scales[t], totals[t]);
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; t++) store(sums[t], totals[t]);
}

// The scales of all tokens, of each tile of them (group, token).
static void turn_scales(const Rows& rows, int tokens, std::vector<float>& turned) {
  turned.resize(static_cast<size_t>(tokens + kTileTokens - 1) / kTileTokens * kTileTokens * rows.groups);
  for (int token = 0; token < tokens; token++) {
    float* to = &turned[static_cast<size_t>(token / kTileTokens) * kTileTokens * rows.groups + token % kTileTokens];
    const float* from = rows.scales + static_cast<size_t>(token) * rows.groups;
    for (int g = 0; g < rows.groups; g++) to[g * kTileTokens] = from[g];
  }
}

template <bool kNibbles>
static void multiply_tile(const Matrix& matrix, const Rows& rows, int tokens, int token, int first, int last,
                          const Output& output, TileSpace& space) {
  const int groups = matrix.groups(), count = std::min(kTileTokens, tokens - token);
  const float* scales = &space.scales[static_cast<size_t>(token) * groups];
  const int8_t* integers = rows.integers + static_cast<size_t>(token) * rows.stride;
  const size_t cells = static_cast<size_t>(kBlockRows) * matrix.padded_columns();
  const bool few = tokens <= kTileTokens;
  const auto products = [&](int block, float (*sums)[kBlockRows]) {
    const BlockTiles<kNibbles> tiles{matrix.values + matrix.block_bytes() * block, matrix.group, groups,
                                     space.bytes.data() + (kNibbles && !few ? (block - first) * cells : 0),
                                     token > 0, few};
    const auto with = count == kTileTokens ? tile_products<kTileTokens, true, kNibbles>
                      : count > kTileTokens / 2 ? tile_products<kTileTokens, false, kNibbles>
                                                : tile_products<kTileTokens / 2, false, kNibbles>;
    with(matrix, block, integers, scales, tiles, sums);
  };
  const bool pair = output.then == Then::kSwiGlu;
  alignas(64) float sums[kTileTokens][kBlockRows], values[kTileTokens][kBlockRows];
  for (int block = first; block < last; block += pair ? 2 : 1) {
    products(block, sums);
    if (pair) products(block + 1, values);
    for (int t = 0; t < count; t++) write_out(sums[t], values[t], output, token + t, pair ? block / 2 : block);
  }
}

static void multiply_by_tiles(const Matrix& matrix, const Rows& rows, int tokens, int first, int last,
                              const Output& output) {
  if (!is_integer(matrix.kind) || tokens < kFewest) return multiply(matrix, rows, tokens, first, last, output);
  static thread_local TileSpace space;
  const bool nibbles = matrix.kind == Kind::kInt4;
  const size_t cells = static_cast<size_t>(kBlockRows) * matrix.padded_columns();
  if (nibbles && space.bytes.size() < kChunk * cells) space.bytes.resize(kChunk * cells);
  turn_scales(rows, tokens, space.scales);
  const int width = std::min(matrix.group, kTileColumns), left = std::max(tokens % kTileTokens, 1);
  const Tiles tiles{{kTileTokens, 64}, {left, 64}, {kTileTokens, width}, {left, width}, {width / 4, 64}};
  for (int chunk = first; chunk < last; chunk += kChunk) {
    const int end = std::min(last, chunk + kChunk);
    for (int token = 0; token < tokens; token += kTileTokens) {
      if (nibbles) multiply_tile<true>(matrix, rows, tokens, token, chunk, end, output, space);
      else multiply_tile<false>(matrix, rows, tokens, token, chunk, end, output, space);
    }
  }
}
