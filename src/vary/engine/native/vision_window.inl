// What attention knows of a window, or of the whole grid, whatever computes its products.

constexpr float kMasked = -1e30f;  // the score of a key that takes no part

// The first token of a window is (top, left) of an image; of its columns the first `own` count.  `tokens` becomes each
// place's token, or -1 outside of the grid; `within` the places that have one.
static void find_places(const Grid& grid, int image, int top, int left, int rows, int columns, int own,
                        Aligned<int64_t>& tokens, Aligned<int>& within) {
  tokens.assign(static_cast<size_t>(rows) * columns, -1);
  within.clear();
  for (int row = 0; row < rows && top + row < grid.rows; row++) {
    for (int column = 0; column < own && left + column < grid.columns; column++) {
      tokens[row * columns + column] =
          (static_cast<int64_t>(image) * grid.rows + top + row) * grid.columns + left + column;
      within.push_back(row * columns + column);
    }
  }
}

// The scores of one query begin as what `keys` keys from `key` on, of `places` in all, have by their rows and columns.
// A vector more than `keys` is written.
static inline void start_scores(float* scores, const float* by_row, const float* by_column, int columns, int own,
                                int key, int keys, int places) {
  const int end = std::min(key + keys, places);
  int row = key / columns;
  for (int at = key; at < end; row++) {
    const int begin = row * columns;
    const int from = at, stop = std::min(begin + columns, end);
    for (; at < stop; at += kLanes) store(scores + (at - key), load(by_column + (at - begin)) + by_row[row]);
    at = stop;  // what was written beyond the row's end is written over
    if (own < columns) {
      const int foreign = std::max(from, std::min(begin + own, stop));
      std::fill(scores + (foreign - key), scores + (stop - key), kMasked);
    }
  }
  std::fill(scores + std::max(end - key, 0), scores + keys, kMasked);
}
