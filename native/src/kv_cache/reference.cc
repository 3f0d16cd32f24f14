#include "kv_cache/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/status.h"

namespace gatun::kv_cache {
namespace {

using LongLong = long long;

float get(const void* values, int32_t dtype, int64_t index) {
  switch (dtype) {
    case GATUN_F32:
      return static_cast<const float*>(values)[index];
    case GATUN_BF16:
      return bf16_to_f32(static_cast<const uint16_t*>(values)[index]);
    case GATUN_F16:
      return f16_to_f32(static_cast<const uint16_t*>(values)[index]);
    case GATUN_F8E4M3:
      return small_to_f32<F8E4M3>(static_cast<const uint8_t*>(values)[index]);
    default:
      return small_to_f32<F8E5M2>(static_cast<const uint8_t*>(values)[index]);
  }
}

void set(void* values, int32_t dtype, int64_t index, float value) {
  switch (dtype) {
    case GATUN_F32:
      static_cast<float*>(values)[index] = value;
      return;
    case GATUN_BF16:
      static_cast<uint16_t*>(values)[index] = f32_to_bf16(value);
      return;
    case GATUN_F16:
      static_cast<uint16_t*>(values)[index] = f32_to_f16(value);
      return;
    case GATUN_F8E4M3:
      static_cast<uint8_t*>(values)[index] = f32_to_small<F8E4M3>(value);
      return;
    default:
      static_cast<uint8_t*>(values)[index] = f32_to_small<F8E5M2>(value);
  }
}

// Of one dtype the bits, NaN included.
void copy(const void* from, int32_t from_dtype, int64_t from_index, void* to, int32_t to_dtype, int64_t to_index) {
  if (from_dtype != to_dtype) return set(to, to_dtype, to_index, get(from, from_dtype, from_index));
  const int64_t bytes = dtype_bytes(to_dtype, 1);
  std::memcpy(static_cast<char*>(to) + to_index * bytes, static_cast<const char*>(from) + from_index * bytes,
              static_cast<size_t>(bytes));
}

// A code of a row as what is stored, without sign: an I8 is 256 more where it is negative.
int bits_of(int32_t dtype) { return dtype == GATUN_I8 ? 8 : dtype == GATUN_U4 ? 4 : 2; }

int get_code(const uint8_t* row, int32_t dtype, int64_t channel) {
  const int64_t bit = channel * bits_of(dtype);
  const int code = row[bit / 8] >> bit % 8 & ((1 << bits_of(dtype)) - 1);
  return dtype == GATUN_I8 && code > 127 ? code - 256 : code;
}

void set_code(uint8_t* row, int32_t dtype, int64_t channel, int code) {
  const int64_t bit = channel * bits_of(dtype);
  const int mask = (1 << bits_of(dtype)) - 1;
  row[bit / 8] = static_cast<uint8_t>((row[bit / 8] & ~(mask << bit % 8)) | (code & mask) << bit % 8);
}

// The code that stands for 0 without zero point.
int code_of_zero(int32_t dtype) { return dtype == GATUN_I8 ? 0 : dtype == GATUN_U4 ? 8 : 2; }

int64_t x_index(const Call& call, int64_t head, int64_t token, int64_t channel) {
  return head * call.p.x_head_stride + token * call.p.x_row_stride + channel;
}

// The values that share a scale, which is scales[index].
struct Group {
  int64_t head, token, tokens, channel, channels;
  int64_t index;

  template <class Visit>
  void for_each(Visit visit) const {
    for (int64_t t = token; t < token + tokens; ++t) {
      for (int64_t c = channel; c < channel + channels; ++c) visit(t, c);
    }
  }
};

template <class Visit>
void for_each_group(const Call& call, const int64_t* slots, Visit visit) {
  const gatun_kv_layout& l = call.pool.layout;
  const bool per_channel = call.pool.per_channel();
  const int64_t tokens = per_channel ? l.group : 1, channels = per_channel ? 1 : l.group;
  for (int64_t head = 0; head < l.heads; ++head) {
    for (int64_t token = 0; token < call.p.tokens; token += tokens) {
      const int64_t slot = call.pool.slot_of(slots, token, per_channel);
      if (slot == -1) continue;
      const int64_t first = call.pool.scale_index(head, slot);
      for (int64_t channel = 0; channel < l.size; channel += channels) {
        visit(Group{head, token, tokens, channel, std::min(channels, l.size - channel), first + channel / channels});
      }
    }
  }
}

struct Scale {
  uint16_t scale, zero;
};

Scale scale_of(const Call& call, const void* x, const Group& group) {
  const gatun_kv_layout& l = call.pool.layout;
  float least = INFINITY, most = -INFINITY, extreme = 0;
  group.for_each([&](int64_t t, int64_t c) {
    const float value = get(x, call.p.dtype, x_index(call, group.head, t, c));
    least = std::min(least, value);
    most = std::max(most, value);
    if (std::fabs(value) > std::fabs(extreme)) extreme = value;
  });
  const int steps = (1 << bits_of(l.dtype)) - 1;
  const bool zero = l.zero_point != GATUN_ZERO_NONE;
  const float exact = zero                  ? (most - least) / static_cast<float>(steps)
                      : l.dtype == GATUN_I8 ? std::fabs(extreme) / 127
                                            : extreme / static_cast<float>(-code_of_zero(l.dtype));
  const uint16_t scale = f32_to_f16(exact);
  const bool none = (scale & 0x7fff) == 0;  // -0 is stored as 0
  return {none ? uint16_t{0} : scale, f32_to_f16(zero && least != 0 ? least : 0)};
}

int code_of(const gatun_kv_layout& l, const Scale& scale, float value) {
  const bool zero = l.zero_point != GATUN_ZERO_NONE;
  const float inverse = 1 / f16_to_f32(scale.scale);
  const float steps = std::isinf(inverse) ? 0 : (zero ? value - f16_to_f32(scale.zero) : value) * inverse;
  const float middle = static_cast<float>(zero ? 0 : code_of_zero(l.dtype));
  const float lowest = l.dtype == GATUN_I8 ? -127 : 0;
  const float highest = static_cast<float>(l.dtype == GATUN_I8 ? 127 : (1 << bits_of(l.dtype)) - 1);
  return static_cast<int>(std::clamp(std::nearbyint(steps) + middle, lowest, highest));
}

int32_t check_f16(const Group& group, const char* what, uint16_t value) {
  if ((value & 0x7fff) < 0x7c00) return GATUN_OK;
  return fail(
      GATUN_INVALID_ARGUMENT,
      "the %s of head %lld, tokens %lld to %lld, channels %lld to %lld of x overflows F16; allowed: up to 65504", what,
      LongLong{group.head}, LongLong{group.token}, LongLong{group.token + group.tokens - 1}, LongLong{group.channel},
      LongLong{group.channel + group.channels - 1});
}

}  // namespace

int32_t reference_check(const Call& call, const void* x, const int64_t* slots) {
  if (!call.pool.scaled()) return GATUN_OK;
  int32_t status = GATUN_OK;
  for_each_group(call, slots, [&](const Group& group) {
    group.for_each([&](int64_t t, int64_t c) {
      const float value = get(x, call.p.dtype, x_index(call, group.head, t, c));
      if (status != GATUN_OK || std::isfinite(value)) return;
      status = fail(GATUN_INVALID_ARGUMENT, "x[%lld][%lld][%lld] = %g (head, token, channel); allowed: finite values",
                    LongLong{group.head}, LongLong{t}, LongLong{c}, double{value});
    });
    if (status != GATUN_OK) return;
    const Scale scale = scale_of(call, x, group);
    status = check_f16(group, "scale", scale.scale);
    if (status == GATUN_OK) status = check_f16(group, "zero point", scale.zero);
  });
  return status;
}

void reference_write(const Call& call, const void* x, const int64_t* slots) {
  const Pool& pool = call.pool;
  const gatun_kv_layout& l = pool.layout;
  if (pool.scaled()) {
    for_each_group(call, slots, [&](const Group& group) {
      const Scale scale = scale_of(call, x, group);
      pool.scales[group.index] = scale.scale;
      if (pool.zeros != nullptr) pool.zeros[group.index] = scale.zero;
      group.for_each([&](int64_t t, int64_t c) {
        set_code(pool.row(group.head, slots[t]), l.dtype, c,
                 code_of(l, scale, get(x, call.p.dtype, x_index(call, group.head, t, c))));
      });
    });
    return;
  }
  for (int64_t head = 0; head < l.heads; ++head) {
    for (int64_t t = 0; t < call.p.tokens; ++t) {
      for (int64_t c = 0; slots[t] != -1 && c < l.size; ++c) {
        copy(x, call.p.dtype, x_index(call, head, t, c), pool.row(head, slots[t]), l.dtype, c);
      }
    }
  }
}

void reference_read(const Call& call, const int64_t* slots, void* x) {
  const Pool& pool = call.pool;
  const gatun_kv_layout& l = pool.layout;
  for (int64_t head = 0; head < l.heads; ++head) {
    for (int64_t t = 0; t < call.p.tokens; ++t) {
      for (int64_t c = 0; slots[t] != -1 && c < l.size; ++c) {
        const uint8_t* const row = pool.row(head, slots[t]);
        const int64_t to = x_index(call, head, t, c);
        if (!pool.scaled()) {
          copy(row, l.dtype, c, x, call.p.dtype, to);
          continue;
        }
        const int64_t index = pool.scale_index(head, slots[t]) + (pool.per_channel() ? c : c / l.group);
        const bool zero = l.zero_point != GATUN_ZERO_NONE;
        const int code = get_code(row, l.dtype, c) - (zero ? 0 : code_of_zero(l.dtype));
        float value = static_cast<float>(code) * f16_to_f32(pool.scales[index]);
        if (zero) value += f16_to_f32(pool.zeros[index]);
        set(x, call.p.dtype, to, value);
      }
    }
  }
}

}  // namespace gatun::kv_cache
