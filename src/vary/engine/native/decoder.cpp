#include "decoder.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace vary {
namespace {

constexpr int kTokensAtOnce = 512;  // of a long prompt; more only take more memory
constexpr int kTilesPerTask = 8;    // of tokens that attend, at most
constexpr int kFewTokens = 4;       // so few are prepared without the other threads

int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

void BlockPool::Free::operator()(uint16_t* block) const { std::free(block); }

uint16_t* BlockPool::take() {
  if (free_.empty()) {
    const size_t bytes = (halves_ * sizeof(uint16_t) + 63) / 64 * 64;
    auto* block = static_cast<uint16_t*>(std::aligned_alloc(64, bytes));
    if (block == nullptr) throw std::bad_alloc();
    all_.emplace_back(block);
    free_.push_back(block);
  }
  uint16_t* block = free_.back();
  free_.pop_back();
  return block;
}

Decoder::Decoder(const Shape& shape, Weights weights, const Kernels& kernels, int threads)
    : shape_(shape),
      weights_(std::move(weights)),
      kernels_(kernels),
      threads_(threads),
      pool_(static_cast<size_t>(2) * shape.layers * shape.kv_heads * kBlock * shape.head_dim * (shape.wide ? 2 : 1)),
      scratch_(threads_.count()) {}

int Decoder::open() {
  const std::lock_guard<ForkSafeMutex> lock(mutex_);
  sequences_.emplace(next_sequence_, Sequence{});
  return next_sequence_++;
}

void Decoder::close(int sequence) {
  const std::lock_guard<ForkSafeMutex> lock(mutex_);
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end()) return;
  for (uint16_t* block : found->second.blocks) pool_.give(block);
  sequences_.erase(found);
}

int Decoder::length(int sequence) const {
  const std::lock_guard<ForkSafeMutex> lock(mutex_);
  const auto found = sequences_.find(sequence);
  return found == sequences_.end() ? -1 : found->second.length;
}

bool Decoder::cut(int sequence, int length) {
  const std::lock_guard<ForkSafeMutex> lock(mutex_);
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end() || length < 0 || length > found->second.length) return false;
  Sequence& cut = found->second;
  cut.length = length;
  const size_t needed = (length + kBlock - 1) / kBlock;
  while (cut.blocks.size() > needed) {
    pool_.give(cut.blocks.back());
    cut.blocks.pop_back();
  }
  return true;
}

bool Decoder::read(const std::vector<Part>& parts, const float* embeddings, float* scores) {
  const std::lock_guard<ForkSafeMutex> lock(mutex_);
  std::vector<Sequence*> sequences;
  std::vector<Token> tokens;
  std::vector<uint8_t> wanted;
  int longest = 0;
  for (size_t number = 0; number < parts.size(); number++) {
    const Part& part = parts[number];
    const auto found = sequences_.find(part.sequence);
    if (found == sequences_.end() || part.count < 1 || part.scored < 0 || part.scored > part.count) return false;
    Sequence& sequence = found->second;
    if (std::find(sequences.begin(), sequences.end(), &sequence) != sequences.end()) return false;
    if (shape_.context > 0 && sequence.length + part.count > shape_.context) return false;
    sequences.push_back(&sequence);
    for (int i = 0; i < part.count; i++) {
      tokens.push_back({static_cast<int>(number), sequence.length + i});
      wanted.push_back(i >= part.count - part.scored);
    }
    longest = std::max(longest, sequence.length + part.count);
  }
  for (size_t number = 0; number < parts.size(); number++) {
    Sequence& sequence = *sequences[number];
    const size_t needed = (sequence.length + parts[number].count + kBlock - 1) / kBlock;
    while (sequence.blocks.size() < needed) sequence.blocks.push_back(pool_.take());
  }
  positions_up_to(longest);
  for (int start = 0; start < static_cast<int>(tokens.size()); start += kTokensAtOnce) {
    const int count = std::min<int>(kTokensAtOnce, static_cast<int>(tokens.size()) - start);
    read_some(sequences, &tokens[start], count, embeddings + static_cast<size_t>(start) * shape_.hidden,
              &wanted[start], scores);
    for (int i = start; i < start + count; i++) scores += wanted[i] ? scored_size() : 0;
  }
  for (size_t number = 0; number < parts.size(); number++) sequences[number]->length += parts[number].count;
  return true;
}

int64_t Decoder::cache_bytes() const {
  const std::lock_guard<ForkSafeMutex> lock(mutex_);
  return static_cast<int64_t>(pool_.bytes());
}

void Decoder::read_some(const std::vector<Sequence*>& sequences, const Token* tokens, int count,
                        const float* embeddings, const uint8_t* wanted, float* scores) {
  const Shape& s = shape_;
  states_.assign(embeddings, embeddings + static_cast<size_t>(count) * s.hidden);
  normed_.resize(static_cast<size_t>(count) * s.hidden);
  qkv_.resize(static_cast<size_t>(count) * s.qkv_size());
  mixed_.resize(static_cast<size_t>(count) * s.query_size());
  inner_.resize(static_cast<size_t>(count) * s.inner);
  for (int number = 0; number < s.layers; number++) {
    const Layer& layer = weights_.layers[number];
    normalize(layer.input_norm, count);
    multiply(layer.qkv, normed_.data(), count, {Then::kStore, qkv_.data(), s.qkv_size(), layer.qkv_bias});
    keep(sequences, tokens, count, number);
    attend(sequences, tokens, count, number);
    multiply(layer.out, mixed_.data(), count, {Then::kAdd, states_.data(), s.hidden, nullptr});
    normalize(layer.post_norm, count);
    multiply(layer.gate_up, normed_.data(), count, {Then::kSwiGlu, inner_.data(), s.inner, nullptr});
    multiply(layer.down, inner_.data(), count, {Then::kAdd, states_.data(), s.hidden, nullptr});
  }
  int scored = 0;
  for (int i = 0; i < count; i++) {
    if (!wanted[i]) continue;
    const float* state = states_.data() + static_cast<size_t>(i) * s.hidden;
    float* normed = weights_.head.rows > 0 ? normed_.data() : scores;
    kernels_.rms_norm(state, weights_.norm, s.hidden, s.epsilon, normed + static_cast<size_t>(scored++) * s.hidden);
  }
  if (scored > 0 && weights_.head.rows > 0) multiply(weights_.head, normed_.data(), scored, {Then::kStore, scores, s.vocabulary, nullptr});
}

void Decoder::normalize(const float* weight, int tokens) {
  const int parts = tokens <= kFewTokens ? 1 : tokens;
  threads_.run(parts, [&](int part, int) {
    for (int token = part; token < tokens; token += parts) {
      const size_t start = static_cast<size_t>(token) * shape_.hidden;
      kernels_.rms_norm(&states_[start], weight, shape_.hidden, shape_.epsilon, &normed_[start]);
    }
  });
}

void Decoder::multiply(const Matrix& matrix, const float* input, int tokens, const Output& output) {
  const int stride = matrix.padded_columns(), groups = matrix.groups();
  Rows rows{input, nullptr, nullptr, nullptr, stride, groups};
  if (is_integer(matrix.kind)) {
    integers_.resize(static_cast<size_t>(tokens) * stride);
    scales_.resize(static_cast<size_t>(tokens) * groups);
    corrections_.resize(scales_.size());
    const int parts = tokens <= kFewTokens ? 1 : tokens;
    threads_.run(parts, [&](int part, int) {
      for (int token = part; token < tokens; token += parts) {
        const size_t row = static_cast<size_t>(token);
        kernels_.quantize(input + row * matrix.columns, matrix.columns, matrix.group, &integers_[row * stride],
                          &scales_[row * groups], &corrections_[row * groups]);
      }
    });
    rows = {nullptr, integers_.data(), scales_.data(), corrections_.data(), stride, groups};
  }
  // Some shares for every thread; each prepares the rows for itself, which pays for some blocks.
  const int blocks = matrix.blocks();
  const int share = std::max(4, round_up(blocks / (threads_.count() * 8), 4));
  threads_.run((blocks + share - 1) / share, [&](int part, int) {
    kernels_.multiply(matrix, rows, tokens, part * share, std::min(blocks, (part + 1) * share), output);
  });
}

// Turns queries and keys to their positions, and puts keys and values away.
void Decoder::keep(const std::vector<Sequence*>& sequences, const Token* tokens, int count, int layer) {
  const Shape& s = shape_;
  const int parts = count <= kFewTokens ? 1 : count;
  threads_.run(parts, [&](int part, int) {
    for (int i = part; i < count; i += parts) {
      float* row = &qkv_[static_cast<size_t>(i) * s.qkv_size()];
      const int position = tokens[i].position;
      const size_t angle = static_cast<size_t>(position) * (s.head_dim / 2);
      kernels_.rotate(row, s.heads + s.kv_heads, s.head_dim, &cosines_[angle], &sines_[angle]);
      uint16_t* block = sequences[tokens[i].part]->blocks[position / kBlock];
      const size_t place = static_cast<size_t>(position % kBlock) * s.head_dim * halves();
      for (int head = 0; head < s.kv_heads; head++) {
        const float* key = row + s.query_size() + head * s.head_dim;
        put_away(key, keys(block, layer, head) + place);
        put_away(key + s.kv_size(), values(block, layer, head) + place);
      }
    }
  });
}

void Decoder::put_away(const float* values, uint16_t* to) const {
  if (shape_.wide) std::memcpy(to, values, sizeof(float) * shape_.head_dim);
  else kernels_.to_halves(values, shape_.head_dim, to);
}

void Decoder::attend(const std::vector<Sequence*>& sequences, const Token* tokens, int count, int layer) {
  const Shape& s = shape_;
  std::vector<std::pair<int, int>> tiles;  // first token and number of tokens, of one sequence
  std::vector<int> groups;  // their first tiles; those of a group are of one sequence
  // A group takes a head's keys and values out of the cache after its first tile.  There are enough for all threads.
  const int most = std::clamp(count * s.kv_heads / (kQueries * 2 * threads_.count()), 1, kTilesPerTask);
  for (int i = 0; i < count;) {
    int size = 1;
    while (size < kQueries && i + size < count && tokens[i + size].part == tokens[i].part) size++;
    const int number = static_cast<int>(tiles.size());
    if (groups.empty() || number - groups.back() == most || tokens[i].part != tokens[i - 1].part)
      groups.push_back(number);
    tiles.emplace_back(i, size);
    i += size;
  }
  groups.push_back(static_cast<int>(tiles.size()));
  const int number = static_cast<int>(groups.size()) - 1;
  threads_.run(number * s.kv_heads, [&](int task, int thread) {
    for (int tile = groups[task % number]; tile < groups[task % number + 1]; tile++)
      attend_tile(sequences, tokens + tiles[tile].first, tiles[tile].first, tiles[tile].second, layer, task / number,
                  scratch_[thread]);
  });
}

// `size` tokens of one sequence, the first of which has the number `first`, with one head of keys and values.
void Decoder::attend_tile(const std::vector<Sequence*>& sequences, const Token* tokens, int first, int size, int layer,
                          int head, std::vector<float>& scratch) {
  const Shape& s = shape_;
  const Sequence& sequence = *sequences[tokens[0].part];
  int seen[kQueries];
  for (int i = 0; i < size; i++) seen[i] = tokens[i].position + 1;
  const int blocks = (seen[size - 1] + kBlock - 1) / kBlock;
  std::vector<const uint16_t*> past_keys(blocks), past_values(blocks);
  for (int i = 0; i < blocks; i++) {
    past_keys[i] = keys(sequence.blocks[i], layer, head);
    past_values[i] = values(sequence.blocks[i], layer, head);
  }
  scratch.resize(static_cast<size_t>(kQueries) * round_up(seen[size - 1], 16));
  const int queries_per_head = s.heads / s.kv_heads;
  for (int query = head * queries_per_head; query < (head + 1) * queries_per_head; query++) {
    kernels_.attend({past_keys.data(), past_values.data(), kBlock, s.wide != 0},
                    &qkv_[static_cast<size_t>(first) * s.qkv_size() + query * s.head_dim], s.qkv_size(), size, seen,
                    s.head_dim, scratch.data(),
                    &mixed_[static_cast<size_t>(first) * s.query_size() + query * s.head_dim], s.query_size());
  }
}

void Decoder::positions_up_to(int count) {
  const int half = shape_.head_dim / 2;
  cosines_.resize(std::max<size_t>(cosines_.size(), static_cast<size_t>(count) * half));
  sines_.resize(cosines_.size());
  for (; known_positions_ < count; known_positions_++) {
    for (int k = 0; k < half; k++) {
      // In float32, as the library computes its tables.
      const float frequency = 1.0f / std::pow(shape_.theta, static_cast<float>(2 * k) / shape_.head_dim);
      const float angle = static_cast<float>(known_positions_) * frequency;
      cosines_[static_cast<size_t>(known_positions_) * half + k] = std::cos(angle);
      sines_[static_cast<size_t>(known_positions_) * half + k] = std::sin(angle);
    }
  }
}

}  // namespace vary
