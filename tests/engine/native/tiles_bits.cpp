// Prints what every instruction on tiles makes of random bits: by the processor, or emulated, which has to be the same.
#include <cstdio>
#include <cstring>
#include <vector>

#include "comparison.hpp"
#include "tiles.hpp"

#if !defined(VARY_EMULATE_AMX)
#pragma GCC push_options
#pragma GCC target("amx-tile,amx-int8,amx-bf16")
#endif

namespace {

// Three small tiles beside full ones: 9 rows of 24 bytes, times 6 rows, to 9 rows.
const std::initializer_list<vary::TileShape> kShapes = {{16, 64}, {16, 64}, {16, 64}, {9, 24}, {9, 64}, {6, 64}};

void print(const void* from, size_t words) {
  std::vector<uint32_t> bits(words);
  std::memcpy(bits.data(), from, words * 4);
  for (uint32_t word : bits) std::printf("%08x ", static_cast<unsigned>(word));
  std::printf("\n");
}

}  // namespace

int main() {
  if (!vary::tiles_allowed()) {
    std::printf("this machine has no tiles\n");
    return 2;
  }
  std::vector<uint16_t> a(512), b(512);  // bfloat16, or any bytes
  for (auto* cells : {&a, &b}) {
    const std::vector<float> values = numbers(cells->size());
    for (size_t i = 0; i < cells->size(); i++) {
      uint32_t bits;
      std::memcpy(&bits, &values[i], 4);
      (*cells)[i] = static_cast<uint16_t>(bits >> 16);
    }
  }
  std::vector<float> sums = numbers(256);
  std::vector<int32_t> integers(256);
  const vary::Tiles tiles(kShapes);
  vary::before_tiles_load();
  _tile_loadd(0, sums.data(), 64);
  _tile_loadd(1, a.data(), 64);
  _tile_loadd(2, b.data(), 64);
  _tile_dpbf16ps(0, 1, 2);
  _tile_stored(0, sums.data(), 64);
  print(sums.data(), sums.size());
  _tile_zero(0);
  _tile_dpbusd(0, 1, 2);
  _tile_dpbssd(0, 1, 2);
  _tile_stored(0, integers.data(), 64);
  print(integers.data(), integers.size());
  _tile_zero(4);
  _tile_loadd(3, a.data(), 64);
  _tile_loadd(5, b.data(), 64);
  _tile_dpbuud(4, 3, 5);
  _tile_dpbsud(4, 3, 5);
  _tile_stored(4, integers.data(), 64);
  print(integers.data(), integers.size());
  return 0;
}

#if !defined(VARY_EMULATE_AMX)
#pragma GCC pop_options
#endif
