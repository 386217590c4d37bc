// Registers that hold tiles of matrices (AMX): whether this process may use them, and how large each is.
// VARY_TILES is defined where the compiler and the system know them.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>

#if defined(VARY_EMULATE_AMX)  // tests, on processors that have none
#include "amx_emulation.hpp"
#define VARY_TILES
#define VARY_TILE_FUNCTION
#elif !defined(VARY_EMULATE_AVX512) && defined(__x86_64__) && defined(__linux__) && \
    ((defined(__clang__) && __clang_major__ >= 12) || (!defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 11))
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define VARY_TILES
#define VARY_TILE_FUNCTION __attribute__((target("amx-tile")))
#endif

#if defined(VARY_TILES)

namespace vary {

// Whether the processor has tiles, with products of bytes and of bfloat16, and the system lets this process use them.
inline bool tiles_allowed() {
#if defined(VARY_EMULATE_AMX)
  return true;
#else
  static const bool allowed = [] {
    unsigned a, b, c, d;
    constexpr unsigned kBFloat16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (~d & (kBFloat16 | kTile | kInt8)) != 0) return false;
    // The tiles' 8 KiB of a thread's state are granted to a process that asks for them (Linux 5.16).
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return allowed;
#endif
}

// The compiler does not know that a tile is loaded from memory: what was written before has to be there.
inline void before_tiles_load() { std::atomic_signal_fence(std::memory_order_seq_cst); }

struct TileShape {
  int rows, bytes;  // at most 16 rows of 64 bytes
};

// The tiles of this thread while it lives: as many as there are shapes, at most 8, zeros at first.
class Tiles {
 public:
  VARY_TILE_FUNCTION Tiles(std::initializer_list<TileShape> shapes) {
    struct alignas(64) {
      uint8_t palette = 1, first_row = 0, unused[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } configuration;
    int tile = 0;
    for (const TileShape& shape : shapes) {
      configuration.bytes[tile] = static_cast<uint16_t>(shape.bytes);
      configuration.rows[tile++] = static_cast<uint8_t>(shape.rows);
    }
    before_tiles_load();
    _tile_loadconfig(&configuration);
  }
  VARY_TILE_FUNCTION ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace vary

#endif
