// Rows into a pool. Codes are those of gatun_quantize: rows, or columns of a group of rows, are quantized to scratch,
// then put where they belong:
//
//   PER_TOKEN    x [32 rows] [size]                              -> codes, scales [32] [..]
//   PER_CHANNEL  x [tokens of a group] [32 channels], transposed -> codes [32] [tokens], transposed again
//
// x becomes one row of groups in f32, if they divide it: quantize makes many scales of a row side by side.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/failure.h"
#include "base/scratch.h"
#include "base/status.h"
#include "kv_cache/reference.h"
#include "kv_cache/values.h"
#include "quantize/table.h"
#include "simd/float_mode.h"

namespace gatun::kv_cache {
namespace {

constexpr int64_t kRun = 32;       // rows that are quantized together
constexpr int64_t kChannels = 32;  // of a group that are quantized together

// Values, and their codes with scales in f16 and zero points that f16 holds, in f32.
struct Room {
  uint8_t* codes;
  uint16_t* scales;
  float *zeros, *values;
};

// Room for rows of `values` values, as many codes and `groups` groups each, in memory that the thread keeps.
int32_t get_room(int64_t rows, int64_t values, int64_t groups, Room* room) {
  thread_local Scratch scratch;
  uint8_t* const memory = scratch.get(rows * (values * 4 + groups * 6 + values));
  if (memory == nullptr) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld rows of codes", static_cast<long long>(rows));
  }
  room->values = reinterpret_cast<float*>(memory);
  room->zeros = room->values + rows * values;
  room->scales = reinterpret_cast<uint16_t*>(room->zeros + rows * groups);
  room->codes = reinterpret_cast<uint8_t*>(room->scales + rows * groups);
  return GATUN_OK;
}

class Writer {
 public:
  Writer(Tier limit, const Call& call, const void* x, const int64_t* slots)
      : limit_(limit),
        call_(call),
        pool_(call.pool),
        x_(static_cast<const uint8_t*>(x)),
        slots_(slots),
        convert_(limit, call.p.dtype, pool_.scaled() ? int32_t{GATUN_F32} : pool_.layout.dtype) {}

  // Units: rows; PER_CHANNEL groups of them.
  int64_t units() const { return pool_.layout.heads * units_of_head(); }

  int32_t write(int64_t begin, int64_t end) const {
    const int64_t units = units_of_head();
    Row rows[kRun];
    int64_t count = 0;
    for (int64_t i = begin; i < end; ++i) {
      const auto [head, unit] = call_.place(i, units, false);
      const int64_t token = unit * (pool_.per_channel() ? pool_.layout.group : 1);
      const int64_t slot = pool_.slot_of(slots_, token, pool_.per_channel());
      if (slot == -1) continue;
      if (!pool_.scaled()) {
        convert_(x_at(head, token), pool_.row(head, slot), pool_.layout.size);
      } else if (pool_.per_channel()) {
        GATUN_TRY(write_group(head, token, slot));
      } else {
        rows[count++] = {x_at(head, token), head, slot};
        if (count == kRun) GATUN_TRY(write_codes(rows, std::exchange(count, 0)));
      }
    }
    return count == 0 ? int32_t{GATUN_OK} : write_codes(rows, count);
  }

 private:
  struct Row {
    const uint8_t* x;
    int64_t head, slot;
  };

  int64_t units_of_head() const { return pool_.per_channel() ? call_.p.tokens / pool_.layout.group : call_.p.tokens; }

  const uint8_t* x_at(int64_t head, int64_t token) const {
    const int64_t index = head * call_.p.x_head_stride + token * call_.p.x_row_stride;
    return x_ + index * dtype_bytes(call_.p.dtype, 1);
  }

  // Room's values, a matrix, to its codes, scales and zero points.
  int32_t quantize(int64_t rows, int64_t depth, const Room& room) const {
    const gatun_kv_layout& l = pool_.layout;
    gatun_quantize_params q{};
    q.struct_size = sizeof(q);
    q.x_dtype = GATUN_F32;
    q.code_dtype = l.dtype;
    q.zero_point = l.zero_point;
    q.scale_dtype = GATUN_F16;
    q.threads = 1;
    q.tensor_scale = 1;
    q.rows = rows;
    q.depth = depth;
    q.group = l.group;
    q.group_rows = 1;
    q.x_row_stride = depth;
    q.x_column_stride = 1;
    float* const zeros = l.zero_point != GATUN_ZERO_NONE ? room.zeros : nullptr;
    GATUN_TRY(quantize::run_quantize(limit_, &q, room.values, nullptr, nullptr, room.codes, room.scales, zeros));
    if (zeros == nullptr) return GATUN_OK;
    const int64_t count = rows * blocks_of(depth, l.group);
    for (int64_t i = 0; i < count; ++i) zeros[i] = f16_to_f32(f32_to_f16(zeros[i]));
    q.scale_rule = GATUN_SCALE_GIVEN;
    return quantize::run_quantize(limit_, &q, room.values, nullptr, nullptr, room.codes, room.scales, zeros);
  }

  // Scales of a slot, and zero points if there are any.
  void put_scales(int64_t index, const uint16_t* scales, const float* zeros, int64_t count) const {
    std::memcpy(pool_.scales + index, scales, static_cast<size_t>(count) * sizeof(*scales));
    for (int64_t i = 0; pool_.zeros != nullptr && i < count; ++i) pool_.zeros[index + i] = f32_to_f16(zeros[i]);
  }

  int32_t write_codes(const Row* rows, int64_t count) const {
    const gatun_kv_layout& l = pool_.layout;
    const int64_t bytes = row_bytes(l), groups = scales_of_row(l);
    Room room;
    GATUN_TRY(get_room(kRun, l.size, groups, &room));
    for (int64_t i = 0; i < count; ++i) convert_(rows[i].x, room.values + i * l.size, l.size);
    const bool one_row = l.size % l.group == 0 && l.group >= 16;
    const int64_t depth = one_row ? count * l.size : l.size;
    GATUN_TRY(quantize(one_row ? 1 : count, depth, room));
    for (int64_t i = 0; i < count; ++i) {
      const auto& [x, head, slot] = rows[i];
      std::memcpy(pool_.row(head, slot), room.codes + i * bytes, static_cast<size_t>(bytes));
      put_scales(pool_.scale_index(head, slot), room.scales + i * groups, room.zeros + i * groups, groups);
    }
    return GATUN_OK;
  }

  int32_t write_group(int64_t head, int64_t token, int64_t slot) const {
    const gatun_kv_layout& l = pool_.layout;
    Room room;
    GATUN_TRY(get_room(kChannels, l.group, 1, &room));
    for (int64_t channel = 0; channel < l.size; channel += kChannels) {
      const int64_t channels = std::min(kChannels, l.size - channel);
      for (int64_t t = 0; t < l.group; ++t) {
        float row[kChannels];
        convert_(x_at(head, token + t) + channel * dtype_bytes(call_.p.dtype, 1), row, channels);
        for (int64_t c = 0; c < channels; ++c) room.values[c * l.group + t] = row[c];
      }
      GATUN_TRY(quantize(1, channels * l.group, room));
      put_scales(pool_.scale_index(head, slot) + channel, room.scales, room.zeros, channels);
      if (l.dtype == GATUN_I8) put_columns<8>(head, slot, channel, channels, room.codes);
      if (l.dtype == GATUN_U4) put_columns<4>(head, slot, channel, channels, room.codes);
      if (l.dtype == GATUN_U2) put_columns<2>(head, slot, channel, channels, room.codes);
    }
    return GATUN_OK;
  }

  // codes [channels] [group], of which a token's make whole bytes of its row.
  template <int kBits>
  void put_columns(int64_t head, int64_t slot, int64_t channel, int64_t channels, const uint8_t* codes) const {
    constexpr int kEach = 8 / kBits, kMask = (1 << kBits) - 1;
    const int64_t group = pool_.layout.group, stride = group / kEach;
    for (int64_t t = 0; t < group; ++t) {
      uint8_t* const row = pool_.row(head, slot + t) + channel / kEach;
      const uint8_t* const column = codes + t / kEach;
      const int shift = static_cast<int>(t % kEach) * kBits;
      for (int64_t byte = 0; byte < channels / kEach; ++byte) {
        int bits = 0;
        for (int i = 0; i < kEach; ++i) bits |= (column[(byte * kEach + i) * stride] >> shift & kMask) << i * kBits;
        row[byte] = static_cast<uint8_t>(bits);
      }
    }
  }

  const Tier limit_;
  const Call& call_;
  const Pool& pool_;
  const uint8_t* const x_;
  const int64_t* const slots_;
  const Conversion convert_;
};

}  // namespace

int32_t write(Tier limit, const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
              const int64_t* slots, void* pages, void* scales, void* zeros) {
  Call call;
  GATUN_TRY(check_rows(params, layout, x, slots, pages, scales, zeros, true, &call));
  const Writer writer(limit, call, x, slots);
  FirstFailure failure;
  parallel_for(writer.units(), threads_of(call, writer.units()),
               [&](int64_t begin, int64_t end) { failure.note(writer.write(begin, end)); });
  if (failure.result() != GATUN_INVALID_ARGUMENT) return failure.result();
  const DefaultFloatMode mode;  // as in a loop's body
  GATUN_TRY(reference_check(call, x, slots));
  return fail(GATUN_INTERNAL, "quantize found a value that is not finite, its reference found none");
}

}  // namespace gatun::kv_cache
