// What the reference chooses: blocks from scores, lines and budgets from sums over the last queries.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "attention_select/reference.h"

namespace gatun::attention_select {
namespace {

// Indices 0..n-1, the larger value first, NaN before all, then the lower index.
std::vector<int64_t> best_first(const std::vector<float>& values) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const float x = values[static_cast<size_t>(a)], y = values[static_cast<size_t>(b)];
    if (std::isnan(x) || std::isnan(y)) return std::isnan(x) && (!std::isnan(y) || a < b);
    return x > y || (x == y && a < b);
  });
  return order;
}

}  // namespace

bool Reference::forced(int64_t block, int64_t key_block) const {
  if (s_.keep_first != 0 && key_block == 0) return true;
  for (int64_t i = block * p_.query_block; i < std::min(queries_, (block + 1) * p_.query_block); ++i) {
    const int64_t p = position(i);
    if (s_.keep_diagonal != 0 && p >= 0 && p / p_.key_block == key_block) return true;
  }
  return false;
}

std::vector<uint8_t> Reference::choose(const std::vector<float>& scores, float amount) const {
  const int64_t columns = key_blocks();
  std::vector<uint8_t> map(at(query_blocks(), columns, 0));
  for (int64_t a = 0; a < query_blocks(); ++a) {
    int64_t count = 0, kept = 0;
    double mass = 0;
    std::vector<float> row;
    for (int64_t c = 0; c < columns; ++c) {
      const float score = scores[at(a, columns, c)];
      row.push_back(score);
      if (!allowed(a, c)) continue;
      ++count;
      const bool finite = score < INFINITY;
      map[at(a, columns, c)] = !finite || forced(a, c);
      if (!finite || !forced(a, c)) continue;
      ++kept;
      mass += double{score};
    }
    const auto wanted = static_cast<int64_t>(std::floor(amount * static_cast<float>(count)));
    double total = mass;  // in the order in which blocks are chosen
    for (const int64_t c : best_first(row)) {
      if (allowed(a, c) && map[at(a, columns, c)] == 0) total += double{row[static_cast<size_t>(c)]};
    }
    for (const int64_t c : best_first(row)) {
      if (!allowed(a, c) || map[at(a, columns, c)] != 0) continue;
      const double score = double{row[static_cast<size_t>(c)]}, goal = double{amount} * total;
      bool more = kept < wanted;
      if (s_.keep == GATUN_KEEP_MASS) more = mass < goal;
      if (s_.keep == GATUN_KEEP_BELOW_MASS) more = mass + score <= goal;
      if (!more && kept > 0) break;
      map[at(a, columns, c)] = 1;
      mass += score;
      ++kept;
    }
  }
  return map;
}

void Reference::lines(const Rows& q, const Rows& k, Rows* columns, Rows* diagonals) {
  columns->assign(static_cast<size_t>(keys_), 0);
  diagonals->assign(static_cast<size_t>(keys_), 0);
  logit_error_ = 0;
  for (int64_t i = std::max<int64_t>(0, queries_ - s_.last_queries); i < queries_; ++i) {
    Rows logits(static_cast<size_t>(keys_));
    std::vector<uint8_t> seen(logits.size());
    for (int64_t j = 0; j < keys_; ++j) {
      seen[static_cast<size_t>(j)] = sees(i, j);
      logits[static_cast<size_t>(j)] = capped(dot(q, i, k, j, double{p_.scale}, 0));
    }
    const Rows row = softmax(logits, seen);
    for (int64_t j = 0; j < keys_; ++j) {
      if (!sees(i, j)) continue;
      (*columns)[static_cast<size_t>(j)] += row[static_cast<size_t>(j)];
      if (position(i) >= j) (*diagonals)[static_cast<size_t>(position(i) - j)] += row[static_cast<size_t>(j)];
    }
  }
}

std::vector<uint8_t> Reference::vertical_slash(const std::vector<float>& columns,
                                               const std::vector<float>& diagonals) const {
  const auto chosen = [&](std::vector<float> sums, int64_t count, int64_t forced_count) {
    const bool sorted = !sums.empty();
    sums.resize(static_cast<size_t>(keys_));
    std::vector<uint8_t> marks(sums.size());
    for (size_t i = 0; i < sums.size() && static_cast<int64_t>(i) < forced_count; ++i) marks[i] = 1;
    int64_t kept = std::min(forced_count, keys_);
    if (!sorted) return marks;
    for (const int64_t i : best_first(sums)) {
      if (kept < count && marks[static_cast<size_t>(i)] == 0) {
        marks[static_cast<size_t>(i)] = 1;
        ++kept;
      }
    }
    return marks;
  };
  const std::vector<uint8_t> verticals = chosen(columns, s_.verticals, s_.forced_verticals);
  const std::vector<uint8_t> slashes = chosen(diagonals, s_.slashes, s_.forced_slashes);
  std::vector<uint8_t> map(at(query_blocks(), key_blocks(), 0));
  for (int64_t i = 0; i < queries_; ++i) {
    for (int64_t j = 0; j < keys_; ++j) {
      const int64_t t = position(i) - j;
      const bool on_line = verticals[static_cast<size_t>(j)] != 0 || (t >= 0 && slashes[static_cast<size_t>(t)] != 0);
      const int64_t a = i / p_.query_block, c = j / p_.key_block;
      if ((on_line || forced(a, c)) && allowed(a, c)) map[at(a, key_blocks(), c)] = 1;
    }
  }
  return map;
}

double Reference::budget(const Rows& columns) const {
  std::vector<double> masses;
  double total = 0;
  for (int64_t c = 0; c < key_blocks(); ++c) {
    bool seen = false;
    double mass = 0;
    for (int64_t j = c * p_.key_block; j < std::min(keys_, (c + 1) * p_.key_block); ++j) {
      mass += columns[static_cast<size_t>(j)];
      for (int64_t i = std::max<int64_t>(0, queries_ - s_.last_queries); i < queries_; ++i) seen = seen || sees(i, j);
    }
    if (seen) masses.push_back(mass);
    total += mass;
  }
  if (masses.empty()) return 1;
  std::sort(masses.begin(), masses.end());
  double left = total;  // without the largest ones
  size_t kept = 0;
  while (kept < masses.size() && left > (1 - double{s_.amount}) * total) left -= masses[masses.size() - ++kept];
  return static_cast<double>(kept) / static_cast<double>(masses.size());
}

}  // namespace gatun::attention_select
