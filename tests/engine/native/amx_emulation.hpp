// Tiles (AMX) for processors that have none: eight of each thread, and the instructions on them in plain C++, in the
// order of additions that the processor keeps.  Subnormal numbers are left as they are, where it takes them for zeros.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace vary {
namespace emulated {

struct Tile {
  int rows, bytes;  // of a row
  uint8_t cells[16][64];
};
inline thread_local Tile tiles[8];

// The 64 bytes of a configuration: palette, first row, 14 of no use, 16 bits of bytes a row of each, 8 bits of rows.
inline void loadconfig(const void* from) {
  uint8_t bytes[64];
  std::memcpy(bytes, from, sizeof bytes);
  for (int i = 0; i < 8; i++) {
    tiles[i] = {};
    tiles[i].bytes = bytes[16 + 2 * i] + 256 * bytes[17 + 2 * i];
    tiles[i].rows = bytes[48 + i];
  }
}

inline void release() {
  for (Tile& tile : tiles) tile = {};
}

inline void zero(int tile) { std::memset(tiles[tile].cells, 0, sizeof tiles[tile].cells); }

inline void loadd(int tile, const void* from, int64_t stride) {
  zero(tile);
  for (int row = 0; row < tiles[tile].rows; row++)
    std::memcpy(tiles[tile].cells[row], static_cast<const uint8_t*>(from) + row * stride, tiles[tile].bytes);
}

inline void stored(int tile, void* to, int64_t stride) {
  for (int row = 0; row < tiles[tile].rows; row++)
    std::memcpy(static_cast<uint8_t*>(to) + row * stride, tiles[tile].cells[row], tiles[tile].bytes);
}

template <class T>
T cell(const Tile& tile, int row, int number) {
  T value;
  std::memcpy(&value, tile.cells[row] + number * sizeof(T), sizeof value);
  return value;
}

// sums += bytes (rows, 4 K) times bytes (K, 4 outputs), with or without signs.
template <class A, class B>
void add_bytes(int sums, int a, int b) {
  Tile& to = tiles[sums];
  for (int row = 0; row < to.rows; row++) {
    for (int output = 0; output < to.bytes / 4; output++) {
      uint32_t sum = cell<uint32_t>(to, row, output);
      for (int k = 0; k < tiles[a].bytes; k++)
        sum += static_cast<uint32_t>(int32_t(cell<A>(tiles[a], row, k)) *
                                     int32_t(cell<B>(tiles[b], k / 4, output * 4 + k % 4)));
      std::memcpy(to.cells[row] + output * 4, &sum, 4);
    }
  }
}

inline float bfloat16(const Tile& tile, int row, int number) {
  const uint32_t bits = uint32_t{cell<uint16_t>(tile, row, number)} << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// sums += bfloat16 (rows, 2 K) times bfloat16 (K, 2 outputs): even and odd inputs add up apart, then all three.
inline void dpbf16ps(int sums, int a, int b) {
  Tile& to = tiles[sums];
  for (int row = 0; row < to.rows; row++) {
    for (int output = 0; output < to.bytes / 4; output++) {
      float parts[2] = {0, 0};
      for (int k = 0; k < tiles[a].bytes / 2; k++) {
        const float weight = bfloat16(tiles[b], k / 2, output * 2 + k % 2);
        parts[k % 2] = std::fma(bfloat16(tiles[a], row, k), weight, parts[k % 2]);
      }
      const float sum = cell<float>(to, row, output) + (parts[0] + parts[1]);
      std::memcpy(to.cells[row] + output * 4, &sum, 4);
    }
  }
}

}  // namespace emulated
}  // namespace vary

// Macros, as a compiler may have declared the functions.
#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbsud
#undef _tile_dpbusd
#undef _tile_dpbuud
#undef _tile_dpbf16ps
#define _tile_loadconfig ::vary::emulated::loadconfig
#define _tile_release ::vary::emulated::release
#define _tile_zero ::vary::emulated::zero
#define _tile_loadd ::vary::emulated::loadd
#define _tile_stored ::vary::emulated::stored
#define _tile_dpbssd ::vary::emulated::add_bytes<int8_t, int8_t>
#define _tile_dpbsud ::vary::emulated::add_bytes<int8_t, uint8_t>
#define _tile_dpbusd ::vary::emulated::add_bytes<uint8_t, int8_t>
#define _tile_dpbuud ::vary::emulated::add_bytes<uint8_t, uint8_t>
#define _tile_dpbf16ps ::vary::emulated::dpbf16ps
