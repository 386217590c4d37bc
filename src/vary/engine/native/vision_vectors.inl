// Functions of vectors that every part of the network uses; included once for every kind of processor, in a namespace
// of its own, behind what that knows of vectors: kLanes, Floats, Integers, a few functions.

// Outputs that lie side by side in packed matrices: as many on every kind of processor, so that what Python packs is
// the same.
constexpr int kPanel = 16;

static inline int rounded_up(int value, int step) { return (value + step - 1) / step * step; }

static inline Floats load(const float* from) {
  Floats value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
static inline void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }
static inline void store(int32_t* to, Integers value) { std::memcpy(to, &value, sizeof value); }
static inline Integers load(const int32_t* from) {
  Integers value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
static inline Floats to_floats(Floats value) { return value; }
static inline Floats all(float value) { return value - Floats{}; }

static inline float sum(Floats value) {
  float total = 0;
  for (int lane = 0; lane < kLanes; lane++) total += value[lane];
  return total;
}
static inline float largest_of(Floats value) {
  float found = value[0];
  for (int lane = 1; lane < kLanes; lane++) found = value[lane] > found ? value[lane] : found;
  return found;
}

// e^x for x of at most 80, to a relative error of 2e-7: x = n ln 2 + r, e^r by its series.
static inline Floats exponential(Floats x) {
  x = largest(x, all(-87.0f));
  const Floats n = rounded(x * 1.44269504f);
  Floats r = fma(n, all(-0.693359375f), x);
  r = fma(n, all(2.12194440e-4f), r);
  Floats p = fma(r, all(1.0f / 720), all(1.0f / 120));
  p = fma(p, r, all(1.0f / 24));
  p = fma(p, r, all(1.0f / 6));
  p = fma(p, r, all(0.5f));
  p = fma(p, r, all(1.0f));
  p = fma(p, r, all(1.0f));
  return times_power_of_two(p, n);
}

// x Phi(x); the error function after Abramowitz and Stegun, 7.1.26, good to 1.5e-7.
static inline Floats gelu(Floats x) {
  const Floats z = absolute(x) * 0.70710678f;
  const Floats t = 1.0f / fma(z, all(0.3275911f), all(1.0f));
  Floats p = fma(t, all(1.061405429f), all(-1.453152027f));
  p = fma(p, t, all(1.421413741f));
  p = fma(p, t, all(-0.284496736f));
  p = fma(p, t, all(0.254829592f)) * t;
  const Floats half_tail = 0.5f * p * exponential(-z * z);  // Phi(-|x|)
  return fma(-absolute(x), half_tail, largest(x, all(0.0f)));
}

static void normalize(const float* values, int count, const Norm& norm, float epsilon, float* output) {
  Floats total = all(0);
  for (int i = 0; i < count; i += kLanes) total += load(values + i);
  const float mean = sum(total) / count;
  Floats squares = all(0);
  for (int i = 0; i < count; i += kLanes) {
    const Floats difference = load(values + i) - mean;
    squares = fma(difference, difference, squares);
  }
  const float factor = 1.0f / std::sqrt(sum(squares) / count + epsilon);
  for (int i = 0; i < count; i += kLanes)
    store(output + i, fma((load(values + i) - mean) * factor, load(norm.weight + i), load(norm.bias + i)));
}
