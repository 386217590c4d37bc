// Memory that begins at a cache line.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace vary {

template <class T>
struct CacheLines {
  using value_type = T;
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* from, size_t) { ::operator delete(from, std::align_val_t{64}); }
  template <class U>
  bool operator==(const CacheLines<U>&) const { return true; }
  template <class U>
  bool operator!=(const CacheLines<U>&) const { return false; }
  CacheLines() = default;
  template <class U>
  CacheLines(const CacheLines<U>&) {}
};
template <class T>
using Aligned = std::vector<T, CacheLines<T>>;

}  // namespace vary
