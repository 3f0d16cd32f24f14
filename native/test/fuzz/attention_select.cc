// gatun_attention_select, _selected, _scores, _choose and _lsh.
#include "gatun/attention_select.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "gatun/block_mask.h"
#include "input.h"

namespace gatun::fuzz {
namespace {

constexpr int64_t kMaxLength = int64_t{1} << 60, kMaxElements = int64_t{1} << 59, kMaxWork = int64_t{1} << 22;
using Wide = __int128;

bool within(int64_t value, int64_t low, int64_t high) { return value >= low && value <= high; }
bool is_block(int64_t rows) { return within(rows, 16, 128) && rows % 16 == 0; }
int64_t blocks(int64_t rows, int64_t block) { return (rows + block - 1) / block; }

bool documented_params(const gatun_attention_params& p) {
  return p.struct_size == sizeof(p) && (p.dtype == GATUN_F32 || p.dtype == GATUN_BF16 || p.dtype == GATUN_F16) &&
         p.out_dtype == GATUN_F32 && within(p.threads, 0, 1024) && within(p.causal, 0, 1) && std::isfinite(p.scale) &&
         std::isfinite(p.soft_cap) && p.soft_cap >= 0 && p.window_left >= -1 && p.window_right >= -1 &&
         p.sink_keys >= 0 && within(p.batch, 0, kMaxLength) && within(p.query_heads, 0, kMaxLength) &&
         within(p.kv_heads, 0, kMaxLength) &&
         (p.kv_heads == 0 ? p.query_heads == 0 : p.query_heads % p.kv_heads == 0) &&
         within(p.query_length, 0, kMaxLength) && within(p.kv_length, 0, kMaxLength) && p.head_size % 8 == 0 &&
         within(p.head_size, 8, 256) && is_block(p.query_block) && is_block(p.key_block);
}

bool documented_selection(const gatun_attention_params& p, const gatun_selection_params& s) {
  if (s.struct_size != sizeof(s) || !within(s.keep_first, 0, 1) || !within(s.keep_diagonal, 0, 1)) return false;
  if (!within(s.key_blocks, 0, INT32_MAX) || !within(p.query_blocks, 0, kMaxLength)) return false;
  if (s.kind == GATUN_SELECT_VERTICAL_SLASH) {
    return within(s.last_queries, 1, 1024) && s.verticals >= 0 && s.slashes >= 0 && s.forced_verticals >= 0 &&
           s.forced_slashes >= 0 && p.kv_length <= UINT32_MAX;
  }
  if (!within(s.keep, GATUN_KEEP_FRACTION, GATUN_KEEP_BELOW_MASS) || !(s.amount >= 0 && s.amount <= 1)) return false;
  switch (s.kind) {
    case GATUN_SELECT_MEANS:
      return std::isfinite(s.similarity);
    case GATUN_SELECT_ANTIDIAGONAL:
      return within(s.stride, 1, 16) && p.query_block % s.stride == 0 && p.key_block % s.stride == 0;
    case GATUN_SELECT_PROXY:
      return p.query_heads == 0 || (within(s.proxy_heads, 1, p.query_heads) && p.query_heads % s.proxy_heads == 0);
    default:
      return s.kind == GATUN_SELECT_MASS;
  }
}

// Elements of rows at strides; kImpossible where the call has to refuse them.
int64_t elements(int64_t batch, int64_t batch_stride, int64_t heads, int64_t head_stride, int64_t rows,
                 int64_t row_stride, int64_t columns) {
  if (batch_stride < 0 || head_stride < 0 || row_stride < 0) return kImpossible;
  if (batch == 0 || heads == 0 || rows == 0) return 0;
  Wide last = 0;
  for (const auto& [size, stride] : {std::pair{batch, batch_stride}, {heads, head_stride}, {rows, row_stride}}) {
    const Wide step = Wide{size - 1} * stride;
    last += step;
    if (last > kMaxElements - columns) return kImpossible;
  }
  return static_cast<int64_t>(last) + columns;
}

std::vector<int64_t> random_offsets(Input& input, int64_t batch, int64_t length, bool* valid) {
  std::vector<int64_t> offsets = {input.range(0, std::min<int64_t>(length, 2))};
  for (int64_t b = 0; b < batch; ++b) offsets.push_back(input.range(offsets.back(), length));
  if (input.rarely()) {
    offsets.back() = input.size();
    const int64_t before = offsets.size() > 1 ? offsets[offsets.size() - 2] : 0;
    *valid = *valid && within(offsets.back(), before, length);
  }
  return offsets;
}

// Whether the map has room for each item.
bool blocks_fit(const gatun_attention_params& p, const gatun_selection_params& s, const std::vector<int64_t>& q,
                const std::vector<int64_t>& kv) {
  const auto fit = [&](int64_t queries, int64_t keys) {
    return blocks(queries, p.query_block) <= p.query_blocks && blocks(keys, p.key_block) <= s.key_blocks;
  };
  if (q.empty()) return p.batch == 0 || fit(p.query_length, p.kv_length);
  for (size_t b = 0; b + 1 < q.size(); ++b) {
    if (!fit(q[b + 1] - q[b], kv[b + 1] - kv[b])) return false;
  }
  return true;
}

// gatun_attention_selected against the map's blocks as a mask, both without lse; the arguments are good ones.
void check_selected(gatun_attention_params p, const gatun_selection_params& s, const Buffer& q, const Buffer& k,
                    const int64_t* q_starts, const int64_t* kv_starts, const float* lse, const Buffer& map,
                    test::Rng& rng) {
  const int64_t items = q_starts == nullptr ? p.batch : 1;
  const Wide v_elements = Wide{items} * p.kv_heads * p.kv_length * p.value_size;
  const Wide out_elements = Wide{items} * p.query_heads * p.query_length * p.value_size;
  if (v_elements > (1 << 16) || out_elements > (1 << 16)) return;
  p.v_row_stride = p.out_row_stride = p.value_size;
  p.v_head_stride = p.kv_length * p.value_size;
  p.v_batch_stride = p.kv_heads * p.v_head_stride;
  p.out_head_stride = p.query_length * p.value_size;
  p.out_batch_stride = p.query_heads * p.out_head_stride;
  Buffer v(static_cast<int64_t>(v_elements) * dtype_bytes(p.dtype, 1)), out(static_cast<int64_t>(out_elements) * 4),
      expected(out.bytes()), density(p.batch * p.query_heads * 4);
  v.fill_floats(rng, p.dtype, Values::normal);
  check_status(
      gatun_attention_selected(&p, &s, nullptr, q.data(), k.data(), v.data(), q_starts, kv_starts, nullptr, nullptr,
                               nullptr, lse, out.data(), nullptr, reinterpret_cast<float*>(density.data())),
      true, "gatun_attention_selected");
  const int64_t rows = p.batch * p.query_heads * p.query_blocks;
  std::vector<int64_t> offsets(static_cast<size_t>(rows) + 1), none(offsets.size());
  std::vector<int32_t> blocks(static_cast<size_t>(map.bytes()) + 1);
  p.mask_batch = p.batch;
  p.mask_heads = p.query_heads;
  p.full_count = map.bytes();
  check_status(gatun_block_mask_from_map(rows, s.key_blocks, map.data(), offsets.data(), blocks.data(), p.full_count,
                                         none.data(), nullptr, 0),
               true, "gatun_block_mask_from_map");
  check_status(gatun_attention(&p, q.data(), k.data(), v.data(), q_starts, kv_starts, nullptr, nullptr, nullptr,
                               offsets.data(), blocks.data(), none.data(), nullptr, nullptr, expected.data(), nullptr),
               true, "gatun_attention");
  if (out.copy() != expected.copy()) defect("gatun_attention_selected differs from select and attention");
}

}  // namespace

void fuzz_attention_select(Input& input) {
  gatun_attention_params p{};
  gatun_selection_params s{};
  p.struct_size = input.struct_size(sizeof(p));
  s.struct_size = input.struct_size(sizeof(s));
  p.dtype = input.choice({GATUN_F32, GATUN_BF16, GATUN_F16});
  p.out_dtype = GATUN_F32;
  p.threads = input.choice({0, 1, 2, 3});
  p.causal = input.choice({0, 1});
  test::Rng rng = input.rng();
  p.scale = input.rarely() ? rng.special() : 0.25f;
  p.soft_cap = input.rarely() ? rng.special() : 0.0f;
  p.window_left = input.range(0, 2) == 0 ? input.size() : -1;
  p.window_right = input.range(0, 2) == 0 ? input.size() : -1;
  p.sink_keys = input.range(0, 2) == 0 ? input.size() : 0;
  p.batch = input.rarely() ? input.size() : input.range(0, 3);
  p.kv_heads = input.rarely() ? input.size() : input.range(0, 3);
  p.query_heads = input.rarely()             ? input.size()
                  : within(p.kv_heads, 0, 3) ? p.kv_heads * input.range(1, 3)
                                             : p.kv_heads;
  p.query_length = input.size();
  p.kv_length = input.size();
  p.head_size = p.value_size = input.rarely() ? input.size() : 8 * input.range(1, 6);
  p.query_block = input.rarely() ? input.size() : 16 * input.range(1, 8);
  p.key_block = input.rarely() ? input.size() : 16 * input.range(1, 8);
  p.query_blocks = input.range(0, 3) == 0 ? input.size() : 40;
  s.key_blocks = input.range(0, 3) == 0 ? input.size() : 40;
  s.kind = input.choice({0, 1, 2, 3, 4});
  s.keep = input.choice({0, 1, 2});
  s.amount = input.rarely() ? rng.special() : rng.uniform(0, 1);
  s.similarity = input.rarely() ? rng.special() : rng.uniform(-1, 1);
  s.keep_first = input.choice({0, 1});
  s.keep_diagonal = input.choice({0, 1});
  s.stride = input.choice({1, 2, 4, 8, 16});
  s.last_queries = input.rarely() ? input.size() : input.range(1, 100);
  s.verticals = input.size();
  s.slashes = input.size();
  s.forced_verticals = input.size();
  s.forced_slashes = input.size();
  s.proxy_heads = input.rarely() ? input.size() : std::max<int64_t>(p.kv_heads, 1);
  bool valid = documented_params(p) && documented_selection(p, s);
  p.q_row_stride = input.stride(p.head_size);
  p.k_row_stride = input.stride(p.head_size);
  p.q_head_stride = input.range(0, 300);
  p.k_head_stride = input.range(0, 300);
  p.q_batch_stride = input.range(0, 300);
  p.k_batch_stride = input.range(0, 300);
  p.lse_head_stride = input.range(0, 50);
  p.lse_batch_stride = input.range(0, 50);

  int64_t counts[] = {0, 0, 0, 0};  // of q, k, lse, map
  std::vector<int64_t> q_offsets, kv_offsets;
  if (valid) {
    if (p.batch < 4 && p.query_length < 1000 && p.kv_length < 1000 && input.range(0, 2) == 0) {
      q_offsets = random_offsets(input, p.batch, p.query_length, &valid);
      kv_offsets = random_offsets(input, p.batch, p.kv_length, &valid);
    }
    const int64_t items = q_offsets.empty() ? p.batch : p.batch > 0;
    counts[0] =
        elements(items, p.q_batch_stride, p.query_heads, p.q_head_stride, p.query_length, p.q_row_stride, p.head_size);
    counts[1] =
        elements(items, p.k_batch_stride, p.kv_heads, p.k_head_stride, p.kv_length, p.k_row_stride, p.head_size);
    if (s.kind == GATUN_SELECT_MASS) {
      counts[2] = elements(items, p.lse_batch_stride, p.query_heads, p.lse_head_stride, p.query_length, 1, 1);
    }
    const Wide heads = Wide{p.batch} * p.query_heads;
    const bool countable = heads < kMaxLength && heads * p.query_blocks < kMaxLength;
    const Wide map = countable ? heads * p.query_blocks * s.key_blocks : Wide{kMaxLength} + 1;
    counts[3] = map > kMaxLength ? kImpossible : static_cast<int64_t>(map);
    bool affordable = p.batch < 100 && heads < 100;
    for (const int64_t count : counts) {
      valid = valid && count != kImpossible;
      affordable = affordable && count < (1 << 18);
    }
    valid = valid && blocks_fit(p, s, q_offsets, kv_offsets);
    if (valid && !affordable) return;
    if (valid && heads * p.query_length * p.kv_length * p.head_size > kMaxWork * 8) return;
  }
  if (!valid) std::fill(counts, counts + 4, 0);
  // Offsets that nobody may believe still have to be those of all items.
  if (!valid && !q_offsets.empty() && q_offsets.size() != static_cast<size_t>(p.batch) + 1) return;
  const int64_t element = std::max<int64_t>(dtype_bytes(p.dtype, 1), 1);
  Buffer q(counts[0] * element), k(counts[1] * element), lse(counts[2] * 4), map(counts[3]), again(counts[3]),
      scores(counts[3] * 4);
  if (valid) {
    const Values kind = values(input);
    q.fill_floats(rng, p.dtype, kind);
    k.fill_floats(rng, p.dtype, kind);
    lse.fill_floats(rng, GATUN_F32, kind);
  }
  const int64_t* const q_starts = q_offsets.empty() ? nullptr : q_offsets.data();
  const int64_t* const kv_starts = q_offsets.empty() ? nullptr : kv_offsets.data();
  const float* const lse_at =
      s.kind == GATUN_SELECT_MASS && valid ? reinterpret_cast<const float*>(lse.data()) : nullptr;
  const std::vector<uint8_t> before = map.copy();
  const int32_t status =
      gatun_attention_select(&p, &s, nullptr, q.data(), k.data(), q_starts, kv_starts, lse_at, map.data());
  // Buffers of calls that are not valid are empty, which some of them need not mind.
  if (valid) check_status(status, true, "gatun_attention_select");
  if (status != GATUN_OK && map.copy() != before) defect("gatun_attention_select failed and wrote the map");
  if (!valid || status != GATUN_OK || counts[3] == 0) return;
  for (int64_t i = 0; i < counts[3]; ++i) {
    if (map.data()[i] > 1) defect("map[%lld] = %d", static_cast<long long>(i), map.data()[i]);
  }
  check_selected(p, s, q, k, q_starts, kv_starts, lse_at, map, rng);
  if (s.kind == GATUN_SELECT_VERTICAL_SLASH) return;
  float* const scores_at = reinterpret_cast<float*>(scores.data());
  check_status(gatun_attention_scores(&p, &s, q.data(), k.data(), q_starts, kv_starts, lse_at, scores_at), true,
               "gatun_attention_scores");
  check_status(gatun_attention_choose(&p, &s, q_starts, kv_starts, scores_at, nullptr, again.data()), true,
               "gatun_attention_choose");
  if (map.copy() != again.copy()) defect("gatun_attention_select differs from scores and choice");
}

void fuzz_attention_lsh(Input& input) {
  gatun_attention_rows_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.dtype = input.choice({GATUN_F32, GATUN_BF16, GATUN_F16});
  p.threads = input.choice({0, 1, 2});
  p.projections = input.choice({1, 2, 7, 16});
  test::Rng rng = input.rng();
  p.seed = static_cast<int64_t>(rng.next());
  p.batch = input.rarely() ? input.size() : input.range(0, 3);
  p.heads = input.rarely() ? input.size() : input.range(0, 3);
  p.length = input.size();
  p.head_size = input.size();
  p.x_row_stride = input.stride(p.head_size);
  p.x_head_stride = input.range(0, 500);
  p.x_batch_stride = input.range(0, 500);
  bool valid = p.struct_size == sizeof(p) && (p.dtype == GATUN_F32 || p.dtype == GATUN_BF16 || p.dtype == GATUN_F16) &&
               within(p.threads, 0, 1024) && within(p.projections, 1, 16) && within(p.batch, 0, kMaxLength) &&
               within(p.heads, 0, kMaxLength) && within(p.length, 0, INT32_MAX) && within(p.head_size, 1, 256);
  int64_t x_count = 0, order_count = 0;
  if (valid) {
    x_count = elements(p.batch, p.x_batch_stride, p.heads, p.x_head_stride, p.length, p.x_row_stride, p.head_size);
    const Wide heads = Wide{p.batch} * p.heads, count = heads > kMaxLength ? Wide{kMaxLength} + 1 : heads * p.length;
    valid = x_count != kImpossible && count <= kMaxLength;
    if (valid && (x_count > (1 << 18) || count > (1 << 16) || heads > 100)) return;
    order_count = valid ? static_cast<int64_t>(count) : 0;
  }
  if (!valid) x_count = 0;
  Buffer x(x_count * std::max<int64_t>(dtype_bytes(p.dtype, 1), 1)), order(order_count * 4);
  if (valid) x.fill_floats(rng, p.dtype, values(input));
  const int32_t status = gatun_attention_lsh(&p, x.data(), reinterpret_cast<int32_t*>(order.data()));
  if (valid) check_status(status, true, "gatun_attention_lsh");
  if (!valid || status != GATUN_OK || order_count == 0) return;
  std::vector<int32_t> rows(static_cast<size_t>(order_count));
  std::memcpy(rows.data(), order.data(), rows.size() * 4);
  for (int64_t head = 0; head < p.batch * p.heads; ++head) {
    const auto first = rows.begin() + head * p.length;
    std::sort(first, first + p.length);
    for (int64_t i = 0; i < p.length; ++i) {
      if (first[i] != i) defect("gatun_attention_lsh: no permutation");
    }
  }
}

}  // namespace gatun::fuzz
