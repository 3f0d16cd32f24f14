// Slots to slots of one pool, and the C entry points.
//
// Slots are moved one after the other where no slot is written that is read later, as in compaction to lower slots in
// ascending order; then heads are apart, and no memory is taken. Otherwise all rows of a head are copied first.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/parallel.h"
#include "base/status.h"
#include "kv_cache/check.h"
#include "kv_cache/table.h"

namespace gatun::kv_cache {
namespace {

// Bytes of rows for which waking another thread pays.
constexpr int64_t kGrainBytes = 128 * 1024;

// Whether each slot is outside of the range of those that are read after it.
bool works_in_order(int64_t tokens, const int64_t* from, const int64_t* to) {
  int64_t low = INT64_MAX, high = INT64_MIN;
  for (int64_t t = tokens - 1; t >= 0; --t) {
    if (to[t] >= low && to[t] <= high) return false;
    low = std::min(low, from[t]);
    high = std::max(high, from[t]);
  }
  return true;
}

class Mover {
 public:
  // Scales are those of a token, or of the group that starts with it.
  explicit Mover(const Pool& pool)
      : pool_(pool), bytes_(row_bytes(pool.layout)), scale_bytes_(scales_of_row(pool.layout) * 2) {}

  int64_t bytes() const { return bytes_ + 2 * scale_bytes_; }

  // -1 of a slot that another thread has changed to one that does not fit.
  int64_t slot_of(const int64_t* slots, int64_t token) const {
    return pool_.slot_of(slots, token, pool_.per_channel());
  }

  // A slot's row and what belongs to it to `copy`, or back.
  void save(int64_t head, int64_t slot, uint8_t* copy) const {
    std::memcpy(copy, pool_.row(head, slot), static_cast<size_t>(bytes_));
    if (!has_scales(slot)) return;
    const int64_t index = pool_.scale_index(head, slot);
    std::memcpy(copy + bytes_, pool_.scales + index, static_cast<size_t>(scale_bytes_));
    if (pool_.zeros == nullptr) return;
    std::memcpy(copy + bytes_ + scale_bytes_, pool_.zeros + index, static_cast<size_t>(scale_bytes_));
  }
  void restore(int64_t head, int64_t slot, const uint8_t* copy) const {
    std::memcpy(pool_.row(head, slot), copy, static_cast<size_t>(bytes_));
    if (!has_scales(slot)) return;
    const int64_t index = pool_.scale_index(head, slot);
    std::memcpy(pool_.scales + index, copy + bytes_, static_cast<size_t>(scale_bytes_));
    if (pool_.zeros == nullptr) return;
    std::memcpy(pool_.zeros + index, copy + bytes_ + scale_bytes_, static_cast<size_t>(scale_bytes_));
  }
  // What the pool gets of a slot that is not known any more: nothing that was in memory.
  void clear(uint8_t* copy) const { std::memset(copy, 0, static_cast<size_t>(bytes())); }

 private:
  bool has_scales(int64_t slot) const {
    return pool_.scaled() && (!pool_.per_channel() || slot % pool_.layout.group == 0);
  }

  const Pool& pool_;
  const int64_t bytes_, scale_bytes_;
};

int32_t move(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from, const int64_t* to, void* pages,
             void* scales, void* zeros) {
  Pool pool;
  GATUN_TRY(check_move(layout, tokens, from, to, pages, scales, zeros, &pool));
  const Mover mover(pool);
  const int64_t heads = pool.layout.heads, bytes = tokens * mover.bytes();
  if (works_in_order(tokens, from, to)) {
    const int32_t threads =
        useful_threads(0, heads, std::min(heads, (int64_t{1} << 60) / (bytes + 1)) * bytes, kGrainBytes);
    parallel_for(heads, threads, [&](int64_t begin, int64_t end) {
      uint8_t copy[3 * 1024];  // a row of f32, or codes with scales and zero points of channels
      for (int64_t head = begin; head < end; ++head) {
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t source = mover.slot_of(from, t), target = mover.slot_of(to, t);
          if (source == -1 || target == -1) continue;
          mover.save(head, source, copy);
          mover.restore(head, target, copy);
        }
      }
    });
    return GATUN_OK;
  }
  const std::unique_ptr<uint8_t, decltype(&std::free)> copies(
      static_cast<uint8_t*>(std::malloc(static_cast<size_t>(bytes))), std::free);
  if (copies == nullptr) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for a copy of %lld rows", static_cast<long long>(tokens));
  }
  const int32_t threads = useful_threads(0, tokens, bytes, kGrainBytes);
  for (int64_t head = 0; head < heads; ++head) {
    const auto for_tokens = [&](auto visit) {
      parallel_for(tokens, threads, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) visit(t, copies.get() + t * mover.bytes());
      });
    };
    for_tokens([&](int64_t t, uint8_t* copy) {
      const int64_t source = mover.slot_of(from, t);
      source != -1 ? mover.save(head, source, copy) : mover.clear(copy);
    });
    for_tokens([&](int64_t t, const uint8_t* copy) {
      const int64_t target = mover.slot_of(to, t);
      if (target != -1) mover.restore(head, target, copy);
    });
  }
  return GATUN_OK;
}

}  // namespace
}  // namespace gatun::kv_cache

using namespace gatun;

int32_t gatun_kv_cache_write(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
                             const int64_t* slots, void* pages, void* scales, void* zeros) {
  return kv_cache::write(active_tier(), params, layout, x, slots, pages, scales, zeros);
}

int32_t gatun_kv_cache_read(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* pages,
                            const void* scales, const void* zeros, const int64_t* slots, void* x) {
  return kv_cache::read(active_tier(), params, layout, pages, scales, zeros, slots, x);
}

int32_t gatun_kv_cache_move(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from, const int64_t* to,
                            void* pages, void* scales, void* zeros) {
  return kv_cache::move(layout, tokens, from, to, pages, scales, zeros);
}
