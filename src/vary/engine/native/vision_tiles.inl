// Products of bfloat16 in tiles (AMX), with sums in float32: a tile is 16 rows of 64 bytes.  Rows that are multiplied
// lie in blocks (rows / 16, inputs / 32) of 16 rows and 32 inputs, as tiles take them; matrices in panels
// (outputs / 16, inputs / 32) of 16 words and 16 outputs, as they are packed everywhere.

constexpr int kTile = 16;          // rows, outputs and words of a tile
constexpr int kDepth = 2 * kTile;  // its inputs
constexpr int kTileCells = kTile * kDepth;
constexpr int kSquare = 2 * kTile;  // rows and outputs that are computed at a time, in four tiles
constexpr int kTileRowBlock = 192;  // rows that one task takes through the matrices, at most

// Tiles 0 to 3 are sums, (2, 2) tiles; 4 and 5 rows; 6 and 7 outputs.
struct ProductTiles : Tiles {
  ProductTiles()
      : Tiles({{16, 64}, {16, 64}, {16, 64}, {16, 64}, {16, 64}, {16, 64}, {16, 64}, {16, 64}}) {}
};

// Where the inputs from `input` on of a row are, in blocks of rows of so many inputs.
static inline size_t cell(int64_t row, int input, int inputs) {
  return static_cast<size_t>(row / kTile * (inputs / kDepth) + input / kDepth) * kTileCells + row % kTile * kDepth +
         input % kDepth;
}

static inline void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

static inline void load_sums(const float* from, int stride) {
  _tile_loadd(0, from, stride * sizeof(float));
  _tile_loadd(1, from + kTile, stride * sizeof(float));
  _tile_loadd(2, from + kTile * stride, stride * sizeof(float));
  _tile_loadd(3, from + kTile * stride + kTile, stride * sizeof(float));
}

static inline void store_sums(float* to, int stride) {
  _tile_stored(0, to, stride * sizeof(float));
  _tile_stored(1, to + kTile, stride * sizeof(float));
  _tile_stored(2, to + kTile * stride, stride * sizeof(float));
  _tile_stored(3, to + kTile * stride + kTile, stride * sizeof(float));
}

// sums += two blocks of rows times two panels, over `depth` tiles of inputs; the second ones are `pitch` cells further.
// What `meanwhile` does after each tile of inputs runs beside the products, which have a unit of their own.
template <class Meanwhile>
static inline void add_square(const uint16_t* rows, size_t row_pitch, const uint16_t* panels, size_t panel_pitch,
                              int depth, Meanwhile& meanwhile) {
  for (int k = 0; k < depth; k++, rows += kTileCells, panels += kTileCells) {
    _tile_loadd(4, rows, 64);
    _tile_loadd(6, panels, 64);
    _tile_loadd(5, rows + row_pitch, 64);
    _tile_loadd(7, panels + panel_pitch, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    meanwhile.step();
  }
}

// Shares `items` out to `steps`: each step does its part of them.
template <class Work>
struct Meanwhile {
  const Work& work;  // called with the number of an item
  const int items, steps;
  int done = 0, due = 0;

  void step() {
    for (due += items; due >= steps && done < items; due -= steps) work(done++);
  }
  void finish() {
    while (done < items) work(done++);
  }
};
struct Nothing {
  void step() {}
};

// emit(row, output, two vectors of outputs) for rows (count) times the matrix, plus its bias; each square's while the
// next one is computed.
template <class Emit>
static inline void multiply(const uint16_t* rows, int count, const Matrix& matrix, const Emit& emit) {
  const auto* weights = reinterpret_cast<const uint16_t*>(matrix.packed);
  const size_t pitch = static_cast<size_t>(kTile) * matrix.inputs;
  alignas(64) float sums[2][kSquare * kSquare];
  const int across = (count + kSquare - 1) / kSquare, squares = matrix.outputs / kSquare * across;
  before_tiles_load();
  for (int square = 0; square <= squares; square++) {
    const int last = square - 1, last_row = last % across * kSquare, last_output = last / across * kSquare;
    const float* from = sums[last & 1];
    const auto emit_row = [&](int i) {
      emit(last_row + i, last_output, load(from + i * kSquare) + load(matrix.bias + last_output),
           load(from + i * kSquare + kTile) + load(matrix.bias + last_output + kTile));
    };
    Meanwhile<decltype(emit_row)> meanwhile{emit_row, square == 0 ? 0 : std::min(kSquare, count - last_row),
                                            matrix.inputs / kDepth};
    if (square < squares) {
      clear_sums();
      add_square(rows + static_cast<size_t>(square % across) * kSquare * matrix.inputs, pitch,
                 weights + static_cast<size_t>(square / across) * kSquare * matrix.inputs, pitch,
                 matrix.inputs / kDepth, meanwhile);
      store_sums(sums[square & 1], kSquare);
    }
    meanwhile.finish();
  }
}

static size_t packed_tiles(int outputs, int inputs) { return sizeof(uint16_t) * outputs * inputs; }

static void pack_tiles(int outputs, int inputs, const float* weights, uint16_t* packed) {
  for (int output = 0; output < outputs; output++) {
    const float* row = weights + static_cast<size_t>(output) * inputs;
    uint16_t* to = packed + static_cast<size_t>(output / kTile * kTile) * inputs + output % kTile * 2;
    for (int input = 0; input < inputs; input++) to[input / 2 * kDepth + input % 2] = to_bfloat16(row[input]);
  }
}

// 2^x to a relative error of 8e-5: beside what bfloat16 rounds, nothing.
static inline Floats power_of_two(Floats x) {
  const Floats r = fraction(x);
  Floats p = fma(r, all(0.0780241092f), all(0.226067901f));
  p = fma(p, r, all(0.695833169f));
  p = fma(p, r, all(0.999925264f));
  return times_two_to(p, x);
}

// `gelu` to an error of 1e-4 of its tail.
static inline Floats gelu_nearly(Floats x) {
  const Floats z = absolute(x) * 0.70710678f;
  const Floats t = nearly_inverse(fma(z, all(0.3275911f), all(1.0f)));
  Floats p = fma(t, all(1.061405429f), all(-1.453152027f));
  p = fma(p, t, all(1.421413741f));
  p = fma(p, t, all(-0.284496736f));
  p = fma(p, t, all(0.254829592f)) * t;
  const Floats half_tail = 0.5f * p * power_of_two(z * z * -1.44269504f);
  return fma(-absolute(x), half_tail, largest(x, all(0.0f)));
}
