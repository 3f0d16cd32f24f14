// Attention, masks in blocks, merging: shapes, strides, lists and options, good and bad, against the references.
#include "gatun/attention.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "attention/reference.h"
#include "attention_merge/reference.h"
#include "base/check.h"
#include "base/dtype.h"
#include "gatun/block_mask.h"
#include "input.h"

namespace gatun::fuzz {
namespace {

using Params = gatun_attention_params;

int32_t any_dtype(Input& input) { return input.choice({GATUN_F32, GATUN_BF16, GATUN_F16}); }
bool float_dtype(int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_BF16 || dtype == GATUN_F16; }

struct Strides {
  int64_t batch, head, row;
};

// Heads outside rows or inside, with gaps or without.
Strides strides_of(Input& input, int64_t heads, int64_t rows, int64_t columns) {
  const int64_t gap = input.range(0, 3) == 0 ? input.range(1, 5) : 0;
  if (input.range(0, 1) == 0) {
    const int64_t row = columns + gap, head = rows * row + gap;
    return {heads * head + gap, head, row};
  }
  const int64_t head = columns + gap, row = heads * head + gap;
  return {rows * row + gap, head, row};
}

int64_t bytes_of(const Strides& s, int64_t batch, int64_t heads, int64_t rows, int64_t columns, int64_t element) {
  if (batch == 0 || heads == 0 || rows == 0) return 0;
  return ((batch - 1) * s.batch + (heads - 1) * s.head + (rows - 1) * s.row + columns) * element;
}

template <class T>
Buffer buffer_of(const std::vector<T>& values) {
  Buffer buffer(static_cast<int64_t>(values.size() * sizeof(T)));
  std::copy_n(reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T), buffer.data());
  return buffer;
}
template <class T>
const T* at(const Buffer& buffer) {
  return reinterpret_cast<const T*>(buffer.data());
}

struct Lists {
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> blocks;

  int64_t count() const { return static_cast<int64_t>(blocks.size()); }
  // Another number, rarely, at a random place.
  void spoil(Input& input) {
    if (input.rarely()) {
      offsets[static_cast<size_t>(input.range(0, static_cast<int64_t>(offsets.size()) - 1))] =
          input.range(0, 1) == 0 ? input.range(-1, count() + 1) : input.range(INT64_MIN, INT64_MAX);
    }
    if (!blocks.empty() && input.rarely()) {
      blocks[static_cast<size_t>(input.range(0, count() - 1))] =
          static_cast<int32_t>(input.range(0, 1) == 0 ? input.range(-1, 9) : input.range(INT32_MIN, INT32_MAX));
    }
  }
  bool ascends(size_t row) const {
    return offsets[row] >= 0 && offsets[row] <= offsets[row + 1] && offsets[row + 1] <= count();
  }
};

// gatun/block_mask.h on rows [begin, end).
bool good_rows(const Lists& full, const Lists& partial, int64_t begin, int64_t end, int64_t key_blocks) {
  for (size_t row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
    std::set<int32_t> seen;
    for (const Lists* lists : {&full, &partial}) {
      if (!lists->ascends(row)) return false;
      int64_t above = -1;
      for (int64_t i = lists->offsets[row]; i < lists->offsets[row + 1]; ++i) {
        const int32_t block = lists->blocks[static_cast<size_t>(i)];
        if (block <= above || block >= key_blocks || !seen.insert(block).second) return false;
        above = block;
      }
    }
  }
  return full.offsets[0] == 0 && partial.offsets[0] == 0;
}

void add_row(Input& input, test::Rng& rng, int64_t key_blocks, Lists& full, Lists& partial) {
  const int64_t density = input.range(0, 3);
  for (int64_t block = 0; block < key_blocks; ++block) {
    if (rng.integer(1, 3) <= density) (rng.next() & 1 ? full : partial).blocks.push_back(static_cast<int32_t>(block));
  }
  full.offsets.push_back(full.count());
  partial.offsets.push_back(partial.count());
}

// Ascending, but rarely.
std::vector<int64_t> offsets_of(Input& input, int64_t batch, int64_t length) {
  std::vector<int64_t> offsets;
  for (int64_t b = 0; b <= batch; ++b) offsets.push_back(input.range(0, length));
  std::sort(offsets.begin(), offsets.end());
  if (input.rarely()) {
    offsets[static_cast<size_t>(input.range(0, batch))] =
        input.range(0, 1) == 0 ? input.range(-1, length + 1) : input.range(INT64_MIN, INT64_MAX);
  }
  return offsets;
}

bool good_offsets(const std::vector<int64_t>& offsets, int64_t length) {
  return offsets.empty() ||
         (std::is_sorted(offsets.begin(), offsets.end()) && offsets.front() >= 0 && offsets.back() <= length);
}

int64_t window_of(Input& input) {
  return input.range(0, 1) == 0 ? -1 : input.rarely() ? input.range(INT64_MIN, INT64_MAX) : input.range(0, 50);
}

struct Mask {
  Lists full, partial;
  std::vector<uint8_t> bits;
  bool given = false;
};

int64_t length_of(const std::vector<int64_t>& offsets, int64_t length, int64_t b) {
  const size_t item = static_cast<size_t>(b);
  return offsets.empty() ? length : offsets[item + 1] - offsets[item];
}

// A mask, and its fields of the params. Returns whether it is good.
bool make_mask(Input& input, test::Rng& rng, Params& p, const std::vector<int64_t>& q_offsets,
               const std::vector<int64_t>& kv_offsets, Mask& mask) {
  mask.given = true;
  p.query_block = input.range(1, 8) * 16;
  p.key_block = input.range(1, 8) * 16;
  p.mask_batch = input.range(0, 1) == 0 ? 1 : p.batch;
  p.mask_heads = input.range(0, 1) == 0 ? 1 : p.query_heads;
  const bool shared = p.mask_batch == 1;
  int64_t longest = 0, least = q_offsets.empty() ? blocks_of(p.kv_length, p.key_block) : INT64_MAX;
  for (int64_t b = 0; b < p.batch; ++b) {
    const int64_t queries = length_of(q_offsets, p.query_length, b);
    longest = std::max(longest, queries);
    if (queries > 0) least = std::min(least, blocks_of(length_of(kv_offsets, p.kv_length, b), p.key_block));
  }
  const int64_t needed = blocks_of(longest, p.query_block);
  p.query_blocks = std::max<int64_t>(0, needed + (input.rarely() ? input.range(-1, 2) : 0));
  const int64_t item_rows = p.mask_heads * p.query_blocks;
  const auto key_blocks = [&](int64_t b) {
    if (shared) return least == INT64_MAX ? 0 : least;
    return blocks_of(length_of(kv_offsets, p.kv_length, b), p.key_block);
  };
  for (int64_t b = 0; b < p.mask_batch; ++b) {
    for (int64_t row = 0; row < item_rows; ++row) add_row(input, rng, key_blocks(b), mask.full, mask.partial);
  }
  if (input.range(0, 1) == 0) {
    mask.bits.resize(static_cast<size_t>(mask.partial.count() * p.query_block * p.key_block / 8));
    for (uint8_t& byte : mask.bits) byte = static_cast<uint8_t>(rng.next());
  }
  mask.full.spoil(input);
  mask.partial.spoil(input);
  p.full_count = mask.full.count();
  p.partial_count = mask.partial.count();
  bool good = p.query_blocks >= needed;
  for (int64_t b = 0; b < p.mask_batch; ++b) {
    const int64_t blocks = shared && least == INT64_MAX ? INT64_MAX : key_blocks(b);
    good = good && good_rows(mask.full, mask.partial, b * item_rows, (b + 1) * item_rows, blocks);
  }
  return good && mask.full.offsets[0] == 0 && mask.partial.offsets[0] == 0;
}

void check_rows(const Params& p, const attention::Inputs& inputs, const Buffer& out, const Buffer& lse) {
  attention::Reference reference(p, inputs);
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t h = 0; h < p.query_heads; ++h) {
      for (int64_t i = 0; i < reference.queries(b); ++i) {
        const attention::Row row = reference.row(b, h, i);
        const double sum = static_cast<double>(float_at(lse.data(), GATUN_F32, reference.lse_index(b, h, i)));
        if (sum != row.lse && !(std::fabs(sum - row.lse) <= attention::lse_bound(p, row))) {
          defect("lse[%lld][%lld][%lld] = %g, reference %g", static_cast<long long>(b), static_cast<long long>(h),
                 static_cast<long long>(i), sum, row.lse);
        }
        for (size_t c = 0; c < row.out.size(); ++c) {
          const double actual = static_cast<double>(
              float_at(out.data(), p.out_dtype, reference.out_index(b, h, i) + static_cast<int64_t>(c)));
          const double rounding = p.out_dtype == GATUN_BF16 ? 0x1p-8 : p.out_dtype == GATUN_F16 ? 0x1p-11 : 0x1p-24;
          const double allowed = attention::out_bound(p, row, c) + rounding * std::fabs(row.out[c]) + 0x1p-24;
          if (!(std::fabs(actual - row.out[c]) <= allowed)) {
            defect("out[%lld][%lld][%lld][%zu] = %g, reference %g, allowed %g", static_cast<long long>(b),
                   static_cast<long long>(h), static_cast<long long>(i), c, actual, row.out[c], allowed);
          }
        }
      }
    }
  }
}

}  // namespace

void fuzz_attention(Input& input) {
  Params p{};
  test::Rng rng = input.rng();
  p.struct_size = input.struct_size(sizeof(p));
  p.dtype = any_dtype(input);
  p.out_dtype = input.range(0, 1) == 0 ? p.dtype : input.choice({GATUN_F32});
  p.mode = input.choice({GATUN_ATTENTION_EXACT, GATUN_ATTENTION_INT8, GATUN_ATTENTION_INT8_FP8});
  p.threads = input.choice({0, 1, 2, 3});
  p.causal = input.choice({0, 1});
  p.scale = input.rarely() ? rng.special() : input.range(0, 3) == 0 ? -0.5f : 0.25f;
  p.soft_cap = input.rarely() ? rng.special() : input.range(0, 3) == 0 ? 2.0f : 0.0f;
  p.window_left = window_of(input);
  p.window_right = window_of(input);
  p.sink_keys = input.rarely() ? input.range(INT64_MIN, INT64_MAX) : input.range(0, 20);
  p.batch = input.range(0, 3);
  p.kv_heads = input.range(0, 2);
  p.query_heads = p.kv_heads * input.range(1, 3) + (input.rarely() ? 1 : 0);
  p.query_length = input.range(0, 3) == 0 ? input.range(0, 150) : input.range(0, 20);
  p.kv_length = input.range(0, 3) == 0 ? input.range(0, 300) : input.range(0, 70);
  p.head_size = input.rarely() ? input.size() : input.range(1, 6) * 8;
  p.value_size = input.rarely() ? input.size() : input.range(1, 6) * 8;
  const auto good_size = [](int64_t size) { return size >= 8 && size <= 256 && size % 8 == 0; };
  bool valid = p.struct_size == sizeof(p) && float_dtype(p.dtype) &&
               (p.out_dtype == p.dtype || p.out_dtype == GATUN_F32) && p.mode >= GATUN_ATTENTION_EXACT &&
               p.mode <= GATUN_ATTENTION_INT8_FP8 && p.threads >= 0 && p.threads <= 1024 &&
               (p.causal == 0 || p.causal == 1) && std::isfinite(p.scale) && std::isfinite(p.soft_cap) &&
               p.soft_cap >= 0 && p.window_left >= -1 && p.window_right >= -1 && p.sink_keys >= 0 &&
               (p.kv_heads == 0 ? p.query_heads == 0 : p.query_heads % p.kv_heads == 0) && good_size(p.head_size) &&
               good_size(p.value_size);
  const int64_t element = valid ? dtype_bytes(p.dtype, 1) : 4, out_element = valid ? dtype_bytes(p.out_dtype, 1) : 4;
  const int64_t head_size = valid ? p.head_size : 8, value_size = valid ? p.value_size : 8;
  std::vector<int64_t> q_offsets, kv_offsets;
  if (input.range(0, 2) == 0) {
    q_offsets = offsets_of(input, p.batch, p.query_length);
    kv_offsets = offsets_of(input, p.batch, p.kv_length);
    valid = valid && good_offsets(q_offsets, p.query_length) && good_offsets(kv_offsets, p.kv_length);
  }
  const int64_t items = q_offsets.empty() ? p.batch : std::min<int64_t>(1, p.batch);
  const Strides q_strides = strides_of(input, p.query_heads, p.query_length, head_size),
                k_strides = strides_of(input, p.kv_heads, p.kv_length, head_size),
                v_strides = strides_of(input, p.kv_heads, p.kv_length, value_size),
                out_strides = strides_of(input, p.query_heads, p.query_length, value_size);
  const Strides lse_strides = {p.query_heads * (p.query_length + 1), p.query_length + 1, 1};
  p.q_batch_stride = q_strides.batch, p.q_head_stride = q_strides.head, p.q_row_stride = q_strides.row;
  p.k_batch_stride = k_strides.batch, p.k_head_stride = k_strides.head, p.k_row_stride = k_strides.row;
  p.v_batch_stride = v_strides.batch, p.v_head_stride = v_strides.head, p.v_row_stride = v_strides.row;
  p.out_batch_stride = out_strides.batch, p.out_head_stride = out_strides.head, p.out_row_stride = out_strides.row;
  p.lse_batch_stride = lse_strides.batch, p.lse_head_stride = lse_strides.head;
  if (input.rarely()) {
    p.v_row_stride = input.range(INT64_MIN, -1);
    valid = false;
  }
  // The stride of a single row may be any number.
  if (p.query_length == 1 && input.range(0, 1) == 0) p.q_row_stride = p.out_row_stride = INT64_MAX;
  if (p.kv_length == 1 && input.range(0, 1) == 0) p.k_row_stride = INT64_MAX;
  Mask mask;
  if (valid && input.range(0, 1) == 0) valid = make_mask(input, rng, p, q_offsets, kv_offsets, mask);

  const Values kind = values(input);
  Buffer q(bytes_of(q_strides, items, p.query_heads, p.query_length, head_size, element)),
      k(bytes_of(k_strides, items, p.kv_heads, p.kv_length, head_size, element)),
      v(bytes_of(v_strides, items, p.kv_heads, p.kv_length, value_size, element)),
      out(bytes_of(out_strides, items, p.query_heads, p.query_length, value_size, out_element)),
      lse(bytes_of(lse_strides, items, p.query_heads, p.query_length, 1, 4)), correction(lse.bytes()),
      slopes(p.query_heads * 4), sinks(p.query_heads * 4);
  if (valid) {
    q.fill_floats(rng, p.dtype, kind);
    k.fill_floats(rng, p.dtype, kind);
    v.fill_floats(rng, p.dtype, kind);
  }
  slopes.fill_floats(rng, GATUN_F32, Values::normal, 0.1f);
  sinks.fill_floats(rng, GATUN_F32, Values::normal);
  correction.fill_floats(rng, GATUN_F32, Values::normal);
  for (Buffer* buffer : {&q, &k, &out, &lse}) {
    buffer->spoil(input);
    if (buffer->bytes() > 0 && (buffer->is_null() ? buffer != &lse : buffer->misaligned())) valid = false;
  }
  const Buffer q_starts = buffer_of(q_offsets), kv_starts = buffer_of(kv_offsets),
               full_offsets = buffer_of(mask.full.offsets), full_blocks = buffer_of(mask.full.blocks),
               partial_offsets = buffer_of(mask.partial.offsets), partial_blocks = buffer_of(mask.partial.blocks),
               bits = buffer_of(mask.bits);
  attention::Inputs in{};
  in.q = q.data();
  in.k = k.data();
  in.v = v.data();
  in.q_offsets = q_offsets.empty() ? nullptr : at<int64_t>(q_starts);
  in.kv_offsets = kv_offsets.empty() ? nullptr : at<int64_t>(kv_starts);
  in.slopes = input.range(0, 3) == 0 ? at<float>(slopes) : nullptr;
  in.sinks = input.range(0, 3) == 0 ? at<float>(sinks) : nullptr;
  in.correction = input.range(0, 3) == 0 ? at<float>(correction) : nullptr;
  if (mask.given) {
    in.full_offsets = at<int64_t>(full_offsets);
    in.full_blocks = at<int32_t>(full_blocks);
    in.partial_offsets = at<int64_t>(partial_offsets);
    in.partial_blocks = at<int32_t>(partial_blocks);
    in.partial_bits = mask.bits.empty() ? nullptr : bits.data();
  }
  const std::vector<uint8_t> out_before = out.copy(), lse_before = lse.copy();
  const int32_t status =
      gatun_attention(&p, in.q, in.k, in.v, in.q_offsets, in.kv_offsets, in.slopes, in.sinks, in.correction,
                      in.full_offsets, in.full_blocks, in.partial_offsets, in.partial_blocks, in.partial_bits,
                      out.data(), reinterpret_cast<float*>(lse.data()));
  if (p.mode != GATUN_ATTENTION_INT8_FP8) {
    check_status(status, valid, "gatun_attention");
  } else if (status != GATUN_UNSUPPORTED && (valid || status != GATUN_INVALID_ARGUMENT)) {  // of GPUs alone
    defect("gatun_attention returned status %d in mode INT8_FP8", status);
  }
  if (status != GATUN_OK && (out.copy() != out_before || lse.copy() != lse_before)) {
    defect("gatun_attention failed and wrote");
  }
  const bool comparable = moderate(kind) && !out.is_null() && !lse.is_null() && std::fabs(p.scale) < 1e3f &&
                          std::fabs(p.scale) > 1e-3f && (p.soft_cap == 0 || p.soft_cap > 1e-3f) && p.soft_cap < 1e3f;
  if (status == GATUN_OK && comparable) check_rows(p, in, out, lse);
}

void fuzz_block_mask(Input& input) {
  test::Rng rng = input.rng();
  const int64_t rows = input.range(0, 6), key_blocks = input.range(0, 20);
  Lists full, partial;
  for (int64_t row = 0; row < rows; ++row) add_row(input, rng, key_blocks, full, partial);
  full.spoil(input);
  partial.spoil(input);
  const Buffer full_offsets = buffer_of(full.offsets), full_blocks = buffer_of(full.blocks),
               partial_offsets = buffer_of(partial.offsets), partial_blocks = buffer_of(partial.blocks);
  const int32_t status =
      gatun_block_mask_check(rows, key_blocks, at<int64_t>(full_offsets), at<int32_t>(full_blocks), full.count(),
                             at<int64_t>(partial_offsets), at<int32_t>(partial_blocks), partial.count());
  check_status(status, good_rows(full, partial, 0, rows, key_blocks), "gatun_block_mask_check");

  Buffer map(rows * key_blocks), from_full(8 * (rows + 1)), from_partial(8 * (rows + 1));
  map.fill_integers(rng, 0, input.rarely() ? 3 : 2);
  int64_t counts[2] = {0, 0};
  bool good = true;
  for (int64_t i = 0; i < map.bytes(); ++i) {
    good = good && map.data()[i] < 3;
    if (map.data()[i] == 1 || map.data()[i] == 2) ++counts[map.data()[i] - 1];
  }
  Buffer listed_full(4 * counts[0]), listed_partial(4 * counts[1]);
  const int64_t missing = counts[0] > 0 && input.rarely() ? 1 : 0;
  const auto offsets = [](Buffer& buffer) { return reinterpret_cast<int64_t*>(buffer.data()); };
  const auto blocks = [](Buffer& buffer) { return reinterpret_cast<int32_t*>(buffer.data()); };
  const int32_t converted =
      gatun_block_mask_from_map(rows, key_blocks, map.data(), offsets(from_full), blocks(listed_full),
                                counts[0] - missing, offsets(from_partial), blocks(listed_partial), counts[1]);
  check_status(converted, good && missing == 0, "gatun_block_mask_from_map");
  if (converted != GATUN_OK) return;
  int64_t places[2] = {0, 0};
  for (int64_t i = 0; i < map.bytes(); ++i) {
    if (map.data()[i] == 0) continue;
    const bool is_full = map.data()[i] == 1;
    const int32_t block = blocks(is_full ? listed_full : listed_partial)[places[is_full ? 0 : 1]++];
    if (block != i % key_blocks) defect("block %d of the map's %lld", block, static_cast<long long>(i % key_blocks));
  }
  if (offsets(from_full)[rows] != counts[0] || offsets(from_partial)[rows] != counts[1]) defect("offsets of a map");
}

void fuzz_attention_merge(Input& input) {
  gatun_attention_merge_params p{};
  test::Rng rng = input.rng();
  p.struct_size = input.struct_size(sizeof(p));
  p.dtype = any_dtype(input);
  p.threads = input.choice({0, 1, 2, 3});
  p.reserved = input.choice({0});
  p.batch = input.range(0, 3);
  p.heads = input.range(0, 3);
  p.length = input.range(0, 20);
  p.value_size = input.range(0, 80);
  const bool good =
      p.struct_size == sizeof(p) && float_dtype(p.dtype) && p.threads >= 0 && p.threads <= 1024 && p.reserved == 0;
  const int64_t element = float_dtype(p.dtype) ? dtype_bytes(p.dtype, 1) : 4, rows = p.batch * p.heads * p.length;
  const Strides s = strides_of(input, p.heads, p.length, p.value_size);
  p.a_batch_stride = p.b_batch_stride = p.out_batch_stride = s.batch;
  p.a_head_stride = p.b_head_stride = p.out_head_stride = s.head;
  p.a_row_stride = p.b_row_stride = p.out_row_stride = s.row;
  const int64_t bytes = p.value_size == 0 ? 0 : bytes_of(s, p.batch, p.heads, p.length, p.value_size, element);
  Buffer a(bytes), b(bytes), out(bytes), a_lse(4 * rows), b_lse(4 * rows), lse(4 * rows);
  const Values kind = values(input);
  for (Buffer* buffer : {&a, &b}) buffer->fill_floats(rng, element == 4 ? int32_t{GATUN_F32} : p.dtype, kind);
  for (Buffer* buffer : {&a_lse, &b_lse}) buffer->fill_floats(rng, GATUN_F32, kind, 3.0f);
  bool valid = good;
  for (Buffer* buffer : {&a, &b, &out, &a_lse, &b_lse}) {
    buffer->spoil(input);
    if (buffer->bytes() > 0 && (buffer->is_null() || buffer->misaligned())) valid = false;
  }
  const bool in_place = valid && input.range(0, 3) == 0;
  const std::vector<uint8_t> a_before = a.copy(), a_lse_before = a_lse.copy();
  Buffer& to = in_place ? a : out;
  Buffer& sums = in_place ? a_lse : lse;
  const std::vector<uint8_t> before = to.copy();
  const int32_t status = gatun_attention_merge(&p, a.data(), at<float>(a_lse), b.data(), at<float>(b_lse), to.data(),
                                               reinterpret_cast<float*>(sums.data()));
  check_status(status, valid, "gatun_attention_merge");
  if (status != GATUN_OK && to.copy() != before) defect("gatun_attention_merge failed and wrote out");
  if (status != GATUN_OK || !moderate(kind)) return;
  const double rounding = p.dtype == GATUN_BF16 ? 0x1p-8 : p.dtype == GATUN_F16 ? 0x1p-11 : 0x1p-24;
  const double least = p.dtype == GATUN_F16 ? 0x1p-14 : 0x1p-126;  // normal number
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t first =
        row / p.length / p.heads * s.batch + row / p.length % p.heads * s.head + row % p.length * s.row;
    std::vector<double> of_a, of_b, expected(static_cast<size_t>(p.value_size));
    for (int64_t c = 0; c < p.value_size; ++c) {
      of_a.push_back(static_cast<double>(float_at(a_before.data(), p.dtype, first + c)));
      of_b.push_back(static_cast<double>(float_at(b.data(), p.dtype, first + c)));
    }
    const double sum = attention_merge::reference_row(
        of_a.data(), static_cast<double>(float_at(a_lse_before.data(), GATUN_F32, row)), of_b.data(),
        static_cast<double>(float_at(b_lse.data(), GATUN_F32, row)), p.value_size, expected.data());
    // Rounded to f32; where the terms of `sum` cancel, both have the last bits of doubles.
    const double lse_error = std::fabs(static_cast<double>(float_at(sums.data(), GATUN_F32, row)) - sum);
    if (!(lse_error <= 0x1.00001p-24 * std::fabs(sum) + 0x1p-50)) {
      defect("lse of row %lld", static_cast<long long>(row));
    }
    for (size_t c = 0; c < expected.size(); ++c) {
      const double actual = static_cast<double>(float_at(to.data(), p.dtype, first + static_cast<int64_t>(c)));
      const double allowed =
          0x1p-23 * (std::fabs(of_a[c]) + std::fabs(of_b[c])) + rounding * std::max(std::fabs(expected[c]), least);
      if (!(std::fabs(actual - expected[c]) <= allowed)) {
        defect("row %lld, %zu: %g, reference %g", static_cast<long long>(row), c, actual, expected[c]);
      }
    }
  }
}

}  // namespace gatun::fuzz
