// The scores of rows over a whole vocabulary, of which only the likeliest and the sum of all exponentials are kept:
// written out they would pass through memory several times.

// What a row has shown so far, in each lane: the largest score, where it was, and the sum of exponentials below it.
struct Seen {
  Floats most = all(-3e38f), total = all(0);
  Integers where{};
};

static inline void look(Seen& seen, Floats scores, Integers numbers) {
  const Floats most = largest(seen.most, scores);
  seen.where = scores > seen.most ? numbers : seen.where;  // of equal ones the first stays
  seen.total = fma(seen.total, exponential(seen.most - most), exponential(scores - most));
  seen.most = most;
}

// rows (count, inputs) times a matrix: the number of the largest output of each, and the logarithm of the sum of the
// exponentials of all of them.  Outputs that do not count have a bias far below the others.
static void survey(const Matrix& matrix, const float* rows, int count, int32_t* best, float* totals, Threads& threads) {
  Integers first{};
  for (int lane = 0; lane < kLanes; lane++) first[lane] = lane;
  threads.run((count + kRowBlock - 1) / kRowBlock, [&](int task, int) {
    const int begin = task * kRowBlock, own = std::min(kRowBlock, count - begin);
    Rows block;
    Aligned<int32_t> partial(static_cast<size_t>(matrix.inputs > kWordBlock ? rounded_up(matrix.outputs, kPanel) : 0) *
                             kRowBlock);
    block.words.assign(static_cast<size_t>(rounded_up(own, kTileRows)) * matrix.inputs, 0);
    std::memcpy(block.words.data(), rows + static_cast<size_t>(begin) * matrix.inputs,
                sizeof(float) * own * matrix.inputs);
    std::vector<Seen, CacheLines<Seen>> seen(own);
    multiply<Float32>(block, own, matrix, partial, [&](int row, int output, const Panel& scores) {
      for (int v = 0; v < kVectors; v++) look(seen[row], scores[v], first + (output + v * kLanes));
    });
    for (int row = 0; row < own; row++) {
      const Seen& all_lanes = seen[row];
      const float most = largest_of(all_lanes.most);
      int32_t found = matrix.outputs;
      float total = 0;
      for (int lane = 0; lane < kLanes; lane++) {
        if (all_lanes.most[lane] == most && all_lanes.where[lane] < found) found = all_lanes.where[lane];
        total += all_lanes.total[lane] * std::exp(all_lanes.most[lane] - most);
      }
      best[begin + row] = found < matrix.outputs ? found : 0;  // of scores that are no numbers none is the largest
      totals[begin + row] = most + std::log(total);
    }
  });
}
