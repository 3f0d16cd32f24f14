// Rows into a pool and out of it, slots to slots.
//
//   values, reading, moving   a thread does eight channels of a row
//   codes PER_TOKEN           a team of 2^n lanes does the channels that share a scale, eight each:
//                             x -> extremes by exchange of lanes -> scale in f16 -> codes with what f16 holds
//   codes PER_CHANNEL         a thread does eight channels of a group of tokens, and reads x twice
//
// Groups of 16 channels and more are multiples of eight, but the last of a row, which is a multiple as the size is one.
#include "base/quotient.h"
#include "kv_cache/chunk.h"
#include "ptx/launch.h"
#include "ptx/memory.h"
#include "ptx/warp.h"

namespace gatun::cuda::kv_cache {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 16;

GATUN_DEVICE int64_t first_item() { return block_x() * kThreads + thread_index(); }
GATUN_DEVICE int64_t items_step() { return blocks_x() * kThreads; }

Grid grid_of(int64_t items) {
  const int64_t blocks = (items + kThreads - 1) / kThreads;
  return {blocks < kMostBlocks ? blocks : kMostBlocks, 1, 1, kThreads, 0};
}

// A token's slot as page and row; a page of -1 where it has none.
struct Place {
  int64_t page, row;
};
GATUN_DEVICE Place place_of(const gatun_kv_layout& l, int64_t slot) {
  if (slot < 0 || slot >= l.pages * l.page_size) return {-1, 0};
  const int64_t page = quotient(slot, l.page_size);
  return {page, slot - page * l.page_size};
}
// The same of tokens that write and move treat as groups.
GATUN_DEVICE Place place_in_group(const gatun_kv_layout& l, const int64_t* slots, int64_t token) {
  if (l.scaling != GATUN_KV_PER_CHANNEL) return place_of(l, slots[token]);
  const int64_t first = quotient(token, l.group) * l.group;
  const Place place = place_of(l, slots[first]);
  if (place.page < 0 || place.row % l.group != 0) return {-1, 0};
  return {place.page, place.row + token - first};
}

GATUN_DEVICE uint8_t* x_at(const RowsJob& job, int64_t head, int64_t token, int64_t channel) {
  const gatun_kv_rows_params& p = job.params;
  return static_cast<uint8_t*>(job.x) +
         (head * p.x_head_stride + token * p.x_row_stride + channel) * (p.dtype == GATUN_F32 ? 4 : 2);
}

// ---- codes: the definition in gatun/quantize.h, with the scale and the zero point that f16 holds -------------------

struct Extremes {
  float least, most;
  float extreme;  // the first one of largest magnitude
  bool finite;
};
GATUN_DEVICE Extremes no_extremes() { return {as_float(0x7f800000), as_float(0xff800000), 0, true}; }
GATUN_DEVICE void include(Extremes& e, float x) {
  e.finite = e.finite && (as_bits(x) & 0x7fffffff) < 0x7f800000;
  e.least = min_number(e.least, x);
  e.most = max_number(e.most, x);
  if (absolute(x) > absolute(e.extreme)) e.extreme = x;
}

struct Coding {
  uint16_t scale, zero;
  float inverse, offset;  // the inverse is 0 where the scale has none
};
GATUN_DEVICE Coding coding_of(const gatun_kv_layout& l, const Extremes& e) {
  const bool zero = l.zero_point != GATUN_ZERO_NONE;
  const float steps = l.dtype == GATUN_U4 ? 15.0f : 3.0f;
  const float exact = zero                  ? (e.most - e.least) / steps
                      : l.dtype == GATUN_I8 ? absolute(e.extreme) / 127.0f
                                            : e.extreme / static_cast<float>(-code_of_zero(l.dtype));
  Coding c;
  c.scale = f32_to_f16(exact);
  if ((c.scale & 0x7fff) == 0) c.scale = 0;
  c.zero = f32_to_f16(zero && e.least != 0 ? e.least : 0);
  const float inverse = 1 / f16_to_f32(c.scale);
  c.inverse = absolute(inverse) == as_float(0x7f800000) ? 0 : inverse;
  c.offset = zero ? f16_to_f32(c.zero) : 0;
  return c;
}
GATUN_DEVICE bool overflows(const Coding& c) { return (c.scale & 0x7fff) >= 0x7c00 || (c.zero & 0x7fff) >= 0x7c00; }

GATUN_DEVICE uint32_t code_of(const gatun_kv_layout& l, const Coding& c, float x) {
  const bool zero = l.zero_point != GATUN_ZERO_NONE, bytes = l.dtype == GATUN_I8;
  const float middle = static_cast<float>(zero ? 0 : code_of_zero(l.dtype));
  const float lowest = bytes ? -127.0f : 0.0f, highest = bytes ? 127.0f : l.dtype == GATUN_U4 ? 15.0f : 3.0f;
  const float steps = c.inverse == 0 ? 0 : (zero ? x - c.offset : x) * c.inverse;
  const float code = min_number(max_number(round_to_integer(steps) + middle, lowest), highest);
  return static_cast<uint32_t>(round_to_i32(code)) & 0xff;
}
GATUN_DEVICE void put_code(const gatun_kv_layout& l, int channel, uint32_t code, Chunk& chunk) {
  if (l.dtype == GATUN_I8) {
    chunk.word[channel / 4] |= code << channel % 4 * 8;
  } else {
    chunk.word[0] |= code << channel * (l.dtype == GATUN_U4 ? 4 : 2);
  }
}
GATUN_DEVICE void encode(const gatun_kv_layout& l, const Coding (&coding)[kChannels], bool one,
                         const float (&x)[kChannels], uint8_t* to) {
  Chunk chunk;
#pragma unroll
  for (int i = 0; i < 8; ++i) chunk.word[i] = 0;
#pragma unroll
  for (int i = 0; i < kChannels; ++i) put_code(l, i, code_of(l, coding[one ? 0 : i], x[i]), chunk);
  store_chunk(to, l.dtype, chunk);
}

GATUN_DEVICE void fault_value(const RowsJob& job, int64_t head, int64_t token, int64_t channel) {
  atomic_min(job.faults, static_cast<uint64_t>((head * job.params.tokens + token) * job.pool.layout.size + channel));
}

// ---- kernels -------------------------------------------------------------------------------------------------------

GATUN_KERNEL(kThreads, 4) write_values(GATUN_GRID_CONSTANT RowsJob job) {
  const gatun_kv_layout& l = job.pool.layout;
  const int64_t chunks = l.size / kChannels, rows = job.params.tokens * l.heads;
  for (int64_t i = first_item(); i < rows * chunks; i += items_step()) {
    const int64_t row = quotient(i, chunks), channel = (i - row * chunks) * kChannels;
    const int64_t token = quotient(row, l.heads), head = row - token * l.heads;
    const Place place = place_of(l, job.slots[token]);
    if (place.page < 0) continue;
    Chunk chunk;
    load_chunk(x_at(job, head, token, channel), job.params.dtype, chunk);
    if (l.dtype != job.params.dtype) {
      float x[kChannels];
      to_floats(chunk, job.params.dtype, x);
      to_chunk(x, l.dtype, chunk);
    }
    store_chunk(row_at(job.pool, place.page, head, place.row) + channel / kChannels * chunk_bytes(l.dtype), l.dtype,
                chunk);
  }
}

// Teams of `team` lanes; a warp's teams run together to the end.
GATUN_KERNEL(kThreads, 4) write_token_codes(GATUN_GRID_CONSTANT RowsJob job, int team) {
  const gatun_kv_layout& l = job.pool.layout;
  const int64_t groups = job.pool.scales_of_row, units = job.params.tokens * l.heads * groups;
  const int own = lane() % team * kChannels;
  for (int64_t first = (first_item() - lane()) / team; first < units; first += items_step() / team) {
    const int64_t unit = first + lane() / team < units ? first + lane() / team : units - 1;
    const int64_t row = quotient(unit, groups), group = unit - row * groups;
    const int64_t token = quotient(row, l.heads), head = row - token * l.heads, channel = group * l.group + own;
    const Place place = place_of(l, job.slots[token]);
    const bool wanted = first + lane() / team < units && place.page >= 0;
    const bool active = wanted && own < l.group && channel < l.size;
    float x[kChannels];
    Extremes e = no_extremes();
    if (active) {
      Chunk chunk;
      load_chunk(x_at(job, head, token, channel), job.params.dtype, chunk);
      to_floats(chunk, job.params.dtype, x);
#pragma unroll
      for (int i = 0; i < kChannels; ++i) {
        const bool before = e.finite;
        include(e, x[i]);
        if (before && !e.finite) fault_value(job, head, token, channel + i);
      }
    }
    for (int mask = 1; mask < team; mask *= 2) {
      e.least = min_number(e.least, shuffle_xor(e.least, mask));
      e.most = max_number(e.most, shuffle_xor(e.most, mask));
      const float other = shuffle_xor(e.extreme, mask);
      const bool earlier = (lane() & mask) != 0 && absolute(other) == absolute(e.extreme);
      if (absolute(other) > absolute(e.extreme) || earlier) e.extreme = other;
      const int all_finite = shuffle_xor(static_cast<int>(e.finite), mask);  // by all lanes
      e.finite = e.finite && all_finite != 0;
    }
    if (!active) continue;
    const Coding coding[kChannels] = {coding_of(l, e)};
    encode(l, coding, true, x,
           row_at(job.pool, place.page, head, place.row) + channel / kChannels * chunk_bytes(l.dtype));
    if (own != 0) continue;
    const int64_t at = scales_at(job.pool, place.page, head, place.row) + group;
    job.pool.scales[at] = coding[0].scale;
    if (job.pool.zeros != nullptr) job.pool.zeros[at] = coding[0].zero;
    if (e.finite && overflows(coding[0])) {
      atomic_min(job.faults + 1, static_cast<uint64_t>((head * job.params.tokens + token) * groups + group));
    }
  }
}

GATUN_KERNEL(kThreads, 2) write_channel_codes(GATUN_GRID_CONSTANT RowsJob job) {
  const gatun_kv_layout& l = job.pool.layout;
  const int64_t chunks = l.size / kChannels, groups = job.params.tokens / l.group;
  for (int64_t i = first_item(); i < l.heads * groups * chunks; i += items_step()) {
    const int64_t row = quotient(i, chunks), channel = (i - row * chunks) * kChannels;
    const int64_t group = quotient(row, l.heads), head = row - group * l.heads, token = group * l.group;
    const Place place = place_in_group(l, job.slots, token);
    if (place.page < 0) continue;
    const auto load = [&](int64_t t, float(&x)[kChannels]) {
      Chunk chunk;
      load_chunk(x_at(job, head, token + t, channel), job.params.dtype, chunk);
      to_floats(chunk, job.params.dtype, x);
    };
    Extremes e[kChannels];
    float x[kChannels];
#pragma unroll
    for (int c = 0; c < kChannels; ++c) e[c] = no_extremes();
    for (int64_t t = 0; t < l.group; ++t) {
      load(t, x);
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        const bool before = e[c].finite;
        include(e[c], x[c]);
        if (before && !e[c].finite) fault_value(job, head, token + t, channel + c);
      }
    }
    Coding coding[kChannels];
    const int64_t at = scales_at(job.pool, place.page, head, place.row) + channel;
#pragma unroll
    for (int c = 0; c < kChannels; ++c) {
      coding[c] = coding_of(l, e[c]);
      job.pool.scales[at + c] = coding[c].scale;
      if (job.pool.zeros != nullptr) job.pool.zeros[at + c] = coding[c].zero;
      if (e[c].finite && overflows(coding[c])) {
        atomic_min(job.faults + 1, static_cast<uint64_t>((head * groups + group) * l.size + channel + c));
      }
    }
    for (int64_t t = 0; t < l.group; ++t) {
      load(t, x);
      encode(l, coding, false, x,
             row_at(job.pool, place.page, head, place.row + t) + channel / kChannels * chunk_bytes(l.dtype));
    }
  }
}

GATUN_KERNEL(kThreads, 4) read_rows(GATUN_GRID_CONSTANT RowsJob job) {
  const gatun_kv_layout& l = job.pool.layout;
  const int64_t chunks = l.size / kChannels, rows = job.params.tokens * l.heads;
  for (int64_t i = first_item(); i < rows * chunks; i += items_step()) {
    const int64_t row = quotient(i, chunks), channel = (i - row * chunks) * kChannels;
    const int64_t token = quotient(row, l.heads), head = row - token * l.heads;
    const Place place = place_of(l, job.slots[token]);
    if (place.page < 0) continue;
    const uint8_t* const from = row_at(job.pool, place.page, head, place.row);
    Chunk chunk;
    if (l.dtype == job.params.dtype) {
      load_chunk(from + channel / kChannels * chunk_bytes(l.dtype), l.dtype, chunk);
    } else {
      float x[kChannels];
      load_values(job.pool, from, scales_at(job.pool, place.page, head, place.row), static_cast<int>(channel), x);
      to_chunk(x, job.params.dtype, chunk);
    }
    store_chunk(x_at(job, head, token, channel), job.params.dtype, chunk);
  }
}

// Slots to copies, or copies to slots. A token's copy: its row, then its scales, then its zero points; of a group of
// tokens only the first has these.
GATUN_KERNEL(kThreads, 4) move_rows(GATUN_GRID_CONSTANT MoveJob job, bool back) {
  const gatun_kv_layout& l = job.pool.layout;
  const bool channels = l.scaling == GATUN_KV_PER_CHANNEL;
  const int64_t chunks = l.size / kChannels, rows = job.tokens * l.heads, bytes = job.copy_bytes;
  for (int64_t i = first_item(); i < rows * chunks; i += items_step()) {
    const int64_t row = quotient(i, chunks), chunk = i - row * chunks;
    const int64_t token = quotient(row, l.heads), head = row - token * l.heads;
    const Place source = place_in_group(l, job.from, token), target = place_in_group(l, job.to, token);
    if (source.page < 0 || target.page < 0) continue;
    const Place place = back ? target : source;
    uint8_t* const copy = job.copies + row * bytes;
    uint8_t* const in_pool = row_at(job.pool, place.page, head, place.row);
    const int64_t at = chunk * chunk_bytes(l.dtype);
    Chunk bits;
    load_chunk((back ? copy : in_pool) + at, l.dtype, bits);
    store_chunk((back ? in_pool : copy) + at, l.dtype, bits);
    if (channels && place.row % l.group != 0) continue;
    // Eight scales of channels for each chunk; of tokens, whose groups have eight channels at least, one.
    const int each = channels ? kChannels : 1;
    const int64_t scales = scales_at(job.pool, place.page, head, place.row);
    for (int64_t s = chunk * each; s < (chunk + 1) * each && s < job.pool.scales_of_row; ++s) {
      const auto exchange = [&](uint16_t* of_pool, int64_t plane) {
        if (of_pool == nullptr) return;
        uint8_t* const kept = copy + job.pool.row_bytes + 2 * (plane * job.pool.scales_of_row + s);
        if (back) {
          of_pool[scales + s] = static_cast<uint16_t>(kept[0] | kept[1] << 8);
        } else {
          kept[0] = static_cast<uint8_t>(of_pool[scales + s]);
          kept[1] = static_cast<uint8_t>(of_pool[scales + s] >> 8);
        }
      };
      exchange(job.pool.scales, 0);
      exchange(job.pool.zeros, 1);
    }
  }
}

}  // namespace

int32_t run_write(const RowsJob& job, void* stream) {
  const gatun_kv_layout& l = job.pool.layout;
  const int64_t chunks = l.size / kChannels, rows = job.params.tokens * l.heads;
  if (l.scaling == GATUN_KV_UNSCALED) {
    return launch("kv_cache_write_values", write_values, grid_of(rows * chunks), stream, job);
  }
  if (l.scaling == GATUN_KV_PER_CHANNEL) {
    return launch("kv_cache_write_channel_codes", write_channel_codes, grid_of(rows / l.group * chunks), stream, job);
  }
  int team = 1;
  while (team * kChannels < l.group) team *= 2;
  return launch("kv_cache_write_token_codes", write_token_codes, grid_of(rows * job.pool.scales_of_row * team), stream,
                job, team);
}

int32_t run_read(const RowsJob& job, void* stream) {
  const gatun_kv_layout& l = job.pool.layout;
  return launch("kv_cache_read", read_rows, grid_of(job.params.tokens * l.heads * (l.size / kChannels)), stream, job);
}

int32_t run_move(const MoveJob& job, void* stream) {
  const Grid grid = grid_of(job.tokens * job.pool.layout.heads * (job.pool.layout.size / kChannels));
  const int32_t status = launch("kv_cache_move", move_rows, grid, stream, job, false);
  return status == GATUN_OK ? launch("kv_cache_move", move_rows, grid, stream, job, true) : status;
}

}  // namespace gatun::cuda::kv_cache
