// Scores of blocks, row by row of blocks.
#pragma once

#include <atomic>

#include "attention_select/products.h"
#include "base/parallel.h"

namespace gatun::attention_select {

// Where scores go. Several threads call it, each for rows of its own.
class Sink {
 public:
  // Room for rows of blocks [first, first + count) of a head of the item, key_blocks each; null if there is no memory.
  virtual float* room(const Item& item, int64_t head, int64_t first, int64_t count) = 0;
  // They are there.
  virtual void done(const Item& item, int64_t head, int64_t first, int64_t count, const float* scores) = 0;

 protected:
  ~Sink() = default;
};

// Scores of the selection's kind for the blocks of all items; GATUN_OUT_OF_RESOURCES with its message.
int32_t score_blocks(const Call& call, Sink& sink);

// One method each; false if there is no memory.
bool score_means(const Call& call, Sink& sink);
bool score_antidiagonal(const Call& call, Sink& sink);
bool score_mass(const Call& call, Sink& sink);
bool score_proxy(const Call& call, Sink& sink);

// Work of one thread: a part of the query blocks of some heads that share keys.
struct Unit {
  int64_t batch, keys_of, part, parts;
};

// Calls work(unit, item) for parts of the blocks of batch * groups sets of heads; false once one returned false. `cost`
// is that of all, in multiplications.
template <class Work>
bool for_each_unit(const Call& call, int64_t groups, double cost, Work work) {
  constexpr double kGrain = 1 << 20;
  constexpr int64_t kMostParts = 16;
  const int64_t sets = call.p.batch * groups;
  const int64_t parts = std::clamp<int64_t>(2 * kMostParts / std::max<int64_t>(sets, 1), 1, kMostParts);
  const int32_t threads = useful_threads(call.p.threads, sets * parts, static_cast<int64_t>(std::min(cost, 1e18)),
                                         static_cast<int64_t>(kGrain));
  std::atomic<bool> good{true};
  parallel_for(sets * parts, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && good.load(std::memory_order_relaxed); ++i) {
      const Unit unit = {i / parts / groups, i / parts % groups, i % parts, parts};
      if (!work(unit, call.item(unit.batch))) good.store(false, std::memory_order_relaxed);
    }
  });
  return good.load(std::memory_order_relaxed);
}

// Calls chunk(first block, last block) for the unit's share of an item's blocks, taken `blocks` at a time in turns.
template <class Chunk>
bool for_each_chunk(const Unit& unit, int64_t all_blocks, int64_t blocks, Chunk chunk) {
  for (int64_t first = unit.part * blocks; first < all_blocks; first += unit.parts * blocks) {
    if (!chunk(first, std::min(first + blocks, all_blocks))) return false;
  }
  return true;
}

// What is seen of a row of logits becomes exp(cap(scale * logit) - the largest); returns 1 / their sum. A NaN or
// infinity makes all of it NaN.
float exponentiate_seen(const Kernel& kernel, const Seen& seen, float scale, float cap, float* logits);

// Products of all pairs of rows, for for_each_unit.
double all_products(const Call& call);

}  // namespace gatun::attention_select
