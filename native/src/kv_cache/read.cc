// Rows out of a pool: values are converted, codes with scales of tokens gathered for gatun_dequantize. Scales of
// channels, of which a row has one in each column, it does not know; they are turned to f32 once for successive slots
// of a group.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/failure.h"
#include "kv_cache/check.h"
#include "kv_cache/values.h"
#include "quantize/table.h"

namespace gatun::kv_cache {
namespace {

constexpr int64_t kRun = 32;  // rows that are gathered
constexpr int64_t kMaxSize = 256, kMaxGroups = kMaxSize / 8;

// Codes of a row, `offset` less.
template <int kBits>
void unpack(const uint8_t* row, int64_t size, int offset, float* values) {
  constexpr int kEach = 8 / kBits, kMask = (1 << kBits) - 1;
  for (int64_t byte = 0; byte < size / kEach; ++byte) {
    for (int i = 0; i < kEach; ++i) {
      values[byte * kEach + i] = static_cast<float>((row[byte] >> i * kBits & kMask) - offset);
    }
  }
}

class Reader {
 public:
  Reader(Tier limit, const Call& call, const int64_t* slots, void* x)
      : limit_(limit),
        call_(call),
        pool_(call.pool),
        slots_(slots),
        x_(static_cast<uint8_t*>(x)),
        convert_(limit, pool_.scaled() ? int32_t{GATUN_F32} : pool_.layout.dtype, call.p.dtype) {}

  int64_t rows() const { return pool_.layout.heads * call_.p.tokens; }

  int32_t read(int64_t begin, int64_t end) const {
    Row rows[kRun];
    int64_t count = 0;
    for (int64_t i = begin; i < end; ++i) {
      // Scales of channels are those of successive rows of a head.
      const auto [head, token] = call_.place(i, call_.p.tokens, pool_.per_channel());
      const int64_t slot = pool_.slot_of(slots_, token, false);
      if (slot == -1) continue;
      if (!pool_.scaled()) {
        convert_(pool_.row(head, slot), x_at(head, token), pool_.layout.size);
        continue;
      }
      rows[count++] = {x_at(head, token), head, slot};
      if (count == kRun) GATUN_TRY(read_codes(rows, std::exchange(count, 0)));
    }
    return count == 0 ? int32_t{GATUN_OK} : read_codes(rows, count);
  }

 private:
  struct Row {
    uint8_t* x;
    int64_t head, slot;
  };

  uint8_t* x_at(int64_t head, int64_t token) const {
    const int64_t index = head * call_.p.x_head_stride + token * call_.p.x_row_stride;
    return x_ + index * dtype_bytes(call_.p.dtype, 1);
  }

  int32_t read_codes(const Row* rows, int64_t count) const {
    if (pool_.per_channel()) return read_columns(rows, count);
    const gatun_kv_layout& l = pool_.layout;
    const int64_t bytes = row_bytes(l), groups = scales_of_row(l);
    float values[kRun * kMaxSize];
    uint8_t codes[kRun * kMaxSize];
    uint16_t scales[kRun * kMaxGroups];
    float zeros[kRun * kMaxGroups];
    for (int64_t i = 0; i < count; ++i) {
      const auto& [x, head, slot] = rows[i];
      const int64_t index = pool_.scale_index(head, slot);
      std::memcpy(codes + i * bytes, pool_.row(head, slot), static_cast<size_t>(bytes));
      std::memcpy(scales + i * groups, pool_.scales + index, static_cast<size_t>(groups) * sizeof(*scales));
      for (int64_t g = 0; pool_.zeros != nullptr && g < groups; ++g) {
        zeros[i * groups + g] = f16_to_f32(pool_.zeros[index + g]);
      }
    }
    // Quantize works on many groups of a row at once, but not of several rows.
    const bool one_row = l.size % l.group == 0 && l.group >= 16;
    gatun_quantize_params q{};
    q.struct_size = sizeof(q);
    q.x_dtype = GATUN_F32;
    q.code_dtype = l.dtype;
    q.zero_point = l.zero_point;
    q.scale_dtype = GATUN_F16;
    q.threads = 1;
    q.tensor_scale = 1;
    q.rows = one_row ? 1 : count;
    q.depth = one_row ? count * l.size : l.size;
    q.group = l.group;
    q.group_rows = 1;
    q.x_row_stride = q.depth;
    q.x_column_stride = 1;
    GATUN_TRY(
        quantize::run_dequantize(limit_, &q, nullptr, codes, scales, pool_.zeros != nullptr ? zeros : nullptr, values));
    for (int64_t i = 0; i < count; ++i) convert_(values + i * l.size, rows[i].x, l.size);
    return GATUN_OK;
  }

  int32_t read_columns(const Row* rows, int64_t count) const {
    const gatun_kv_layout& l = pool_.layout;
    const bool zero = pool_.zeros != nullptr;
    float scales[kMaxSize], zeros[kMaxSize], values[kMaxSize];
    for (int64_t i = 0; i < count; ++i) {
      const auto& [x, head, slot] = rows[i];
      if (i == 0 || head != rows[i - 1].head || slot / l.group != rows[i - 1].slot / l.group) {
        const int64_t index = pool_.scale_index(head, slot);
        for (int64_t c = 0; c < l.size; ++c) {
          scales[c] = f16_to_f32(pool_.scales[index + c]);
          zeros[c] = zero ? f16_to_f32(pool_.zeros[index + c]) : -0.0f;  // which changes nothing
        }
      }
      const uint8_t* const row = pool_.row(head, slot);
      if (l.dtype == GATUN_I8) {
        for (int64_t c = 0; c < l.size; ++c) values[c] = static_cast<float>(static_cast<int8_t>(row[c]));
      } else {
        l.dtype == GATUN_U4 ? unpack<4>(row, l.size, zero ? 0 : 8, values)
                            : unpack<2>(row, l.size, zero ? 0 : 2, values);
      }
      for (int64_t c = 0; c < l.size; ++c) values[c] = values[c] * scales[c] + zeros[c];
      convert_(values, x, l.size);
    }
    return GATUN_OK;
  }

  const Tier limit_;
  const Call& call_;
  const Pool& pool_;
  const int64_t* const slots_;
  uint8_t* const x_;
  const Conversion convert_;
};

}  // namespace

int32_t read(Tier limit, const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* pages,
             const void* scales, const void* zeros, const int64_t* slots, void* x) {
  Call call;
  GATUN_TRY(check_rows(params, layout, x, slots, pages, scales, zeros, false, &call));
  const Reader reader(limit, call, slots, x);
  FirstFailure failure;
  parallel_for(reader.rows(), threads_of(call, reader.rows()),
               [&](int64_t begin, int64_t end) { failure.note(reader.read(begin, end)); });
  return failure.result();
}

}  // namespace gatun::kv_cache
