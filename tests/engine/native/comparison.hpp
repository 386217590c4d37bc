// What the comparisons of kernels share: random numbers, counting what differs, and how a comparison runs.
#pragma once

#include <cstdio>
#include <random>
#include <string>
#include <vector>

inline std::mt19937 random_bits(1);
inline int failures = 0;

inline std::vector<float> numbers(size_t count, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random_bits);
  return values;
}

inline void expect(bool holds, const std::string& what) {
  if (holds) return;
  if (failures++ < 10) std::printf("differs: %s\n", what.c_str());
}

// Lets `compare` look at kernels of a name beside the plain ones; what the program returns.
template <class Kernels, class Compare>
int compare_with_plain(const char* name, const Kernels* kernels, const Kernels* plain, const Compare& compare) {
  if (kernels == nullptr || plain == nullptr) {
    std::printf("this machine does not run %s\n", name);
    return 2;
  }
  compare(*kernels, *plain);
  std::printf("%s against plain C++: %d differences\n", name, failures);
  return failures == 0 ? 0 : 1;
}
