// A decoder of the Qwen2 kind: RMS norms, rotary positions, grouped queries, SwiGLU; embeddings in, scores out.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "aligned.hpp"
#include "forks.hpp"
#include "kernels.hpp"
#include "matrix.hpp"
#include "threads.hpp"

namespace vary {

struct Shape {
  int32_t hidden, layers, heads, kv_heads, head_dim, inner, vocabulary, context;
  float epsilon, theta;
  int32_t wide;  // whether keys and values are kept in float32, not in float16

  int query_size() const { return heads * head_dim; }
  int kv_size() const { return kv_heads * head_dim; }
  int qkv_size() const { return query_size() + 2 * kv_size(); }
};

// Of one layer.  qkv: queries, keys and values one below the other, with their bias (or null).  gate_up: blocks of
// 16 rows of the gate and of the values by turns.
struct Layer {
  Matrix qkv, out, gate_up, down;
  const float* qkv_bias;
  const float *input_norm, *post_norm;
};

struct Weights {
  std::vector<Layer> layers;
  const float* norm;
  Matrix head;  // without rows: what is wanted are not scores but normalized states
};

// Keys and values of kBlock positions in all layers: (layer, kv head, position, head_dim), keys then values.
constexpr int kBlock = 64;

// Memory for blocks of keys and values; freed ones are used again.
class BlockPool {
 public:
  explicit BlockPool(size_t halves) : halves_(halves) {}
  uint16_t* take();
  void give(uint16_t* block) { free_.push_back(block); }
  size_t bytes() const { return all_.size() * halves_ * sizeof(uint16_t); }

 private:
  struct Free {
    void operator()(uint16_t* block) const;
  };
  const size_t halves_;
  std::vector<std::unique_ptr<uint16_t[], Free>> all_;
  std::vector<uint16_t*> free_;
};

struct Sequence {
  std::vector<uint16_t*> blocks;
  int length = 0;
};

// New tokens of a sequence: `count` of them, of which the scores of the last `scored` are wanted.
struct Part {
  int32_t sequence, count, scored;
};

// Any thread may call it at any time: calls wait for each other.
class Decoder {
 public:
  Decoder(const Shape& shape, Weights weights, const Kernels& kernels, int threads);

  int open();
  void close(int sequence);
  int length(int sequence) const;           // -1 for one that is not open
  bool cut(int sequence, int length);       // false if it is not open or shorter
  // Reads new tokens, their embeddings (tokens, hidden) one part after the other, into scores (scored,
  // vocabulary).  Nothing is changed where it returns false: a sequence is not open, or would be too long.
  bool read(const std::vector<Part>& parts, const float* embeddings, float* scores);

  // Of all keys and values, those that are free to be used again too.
  int64_t cache_bytes() const;

 private:
  struct Token {
    int part, position;
  };

  void read_some(const std::vector<Sequence*>& sequences, const Token* tokens, int count, const float* embeddings,
                 const uint8_t* wanted, float* scores);
  void multiply(const Matrix& matrix, const float* input, int tokens, const Output& output);
  void normalize(const float* weight, int tokens);
  void keep(const std::vector<Sequence*>& sequences, const Token* tokens, int count, int layer);
  void attend(const std::vector<Sequence*>& sequences, const Token* tokens, int count, int layer);
  void attend_tile(const std::vector<Sequence*>& sequences, const Token* tokens, int first, int size, int layer,
                   int head, std::vector<float>& scratch);
  void put_away(const float* values, uint16_t* to) const;  // one head's key or value
  void positions_up_to(int position);

  uint16_t* keys(uint16_t* block, int layer, int head) const {
    return block + (static_cast<size_t>(layer) * shape_.kv_heads + head) * kBlock * shape_.head_dim * halves();
  }
  uint16_t* values(uint16_t* block, int layer, int head) const { return keys(block, layer + shape_.layers, head); }

  int halves() const { return shape_.wide ? 2 : 1; }  // in which a number is kept
  int scored_size() const { return weights_.head.rows > 0 ? shape_.vocabulary : shape_.hidden; }

  const Shape shape_;
  const Weights weights_;
  const Kernels& kernels_;
  mutable ForkSafeMutex mutex_;  // guards all that follows
  Threads threads_;
  BlockPool pool_;
  std::unordered_map<int, Sequence> sequences_;
  int next_sequence_ = 0;
  std::vector<float> cosines_, sines_;  // (position, head_dim / 2)
  int known_positions_ = 0;
  std::vector<float> states_, normed_, qkv_, mixed_, inner_;  // (tokens, ...) of one call
  Aligned<int8_t> integers_;
  std::vector<float> scales_;
  std::vector<int32_t> corrections_;
  std::vector<std::vector<float>> scratch_;  // of each thread, for scores
};

}  // namespace vary
