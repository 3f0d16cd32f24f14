// Selections and what is made of them: gatun_attention_select against its steps, gatun_attention_selected against
// gatun_attention; budgets.
#include "gatun/attention_select.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "attention_select.h"
#include "base/dtype.h"
#include "gatun/block_mask.h"

namespace gatun::fuzz {
namespace {

constexpr int64_t kMaxWork = int64_t{1} << 22;

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

// A good call, and the map that came of it.
struct Given {
  const gatun_attention_params& p;
  const gatun_selection_params& s;
  const void *q, *k;
  const int64_t *q_starts, *kv_starts;
  const float* lse;
  const std::vector<uint8_t> map;

  int64_t heads() const { return p.batch * p.query_heads; }
};

float* floats(Buffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }

std::vector<uint8_t> by_scores(const Given& x) {
  Buffer scores(static_cast<int64_t>(x.map.size()) * 4), map(static_cast<int64_t>(x.map.size()));
  check_status(gatun_attention_scores(&x.p, &x.s, x.q, x.k, x.q_starts, x.kv_starts, x.lse, floats(scores)), true,
               "gatun_attention_scores");
  check_status(gatun_attention_choose(&x.p, &x.s, x.q_starts, x.kv_starts, floats(scores), nullptr, map.data()), true,
               "gatun_attention_choose");
  return map.copy();
}

std::vector<uint8_t> by_lines(const Given& x) {
  const int64_t count = (x.q_starts != nullptr ? 1 : x.p.batch) * x.p.query_heads * x.p.kv_length;
  Buffer columns(count * 4), diagonals(count * 4), map(static_cast<int64_t>(x.map.size()));
  check_status(gatun_attention_lines(&x.p, &x.s, x.q, x.k, x.q_starts, x.kv_starts, floats(columns), floats(diagonals)),
               true, "gatun_attention_lines");
  check_status(gatun_attention_vertical_slash(&x.p, &x.s, x.q_starts, x.kv_starts, floats(columns), floats(diagonals),
                                              map.data()),
               true, "gatun_attention_vertical_slash");
  return map.copy();
}

// Fractions, by which blocks can be chosen.
void check_budgets(const Given& x, test::Rng& rng) {
  gatun_selection_params s = x.s;
  s.last_queries = rng.integer(1, 100);
  s.amount = rng.uniform(0, 1);
  Buffer budgets(x.heads() * 4), map(static_cast<int64_t>(x.map.size()));
  check_status(gatun_attention_budgets(&x.p, &s, x.q, x.k, x.q_starts, x.kv_starts, floats(budgets)), true,
               "gatun_attention_budgets");
  for (int64_t i = 0; i < x.heads(); ++i) {
    const float budget = floats(budgets)[i];
    if (!(budget >= 0 && budget <= 1)) defect("budgets[%lld] = %g", static_cast<long long>(i), double{budget});
  }
  if (s.kind == GATUN_SELECT_VERTICAL_SLASH) return;
  check_status(gatun_attention_select(&x.p, &s, floats(budgets), x.q, x.k, x.q_starts, x.kv_starts, x.lse, map.data()),
               true, "gatun_attention_select");
}

// gatun_attention over the lists of the map gives the same bits.
void check_selected(const Given& x, test::Rng& rng) {
  gatun_attention_params p = x.p;
  p.value_size = 8 * rng.integer(1, 3);
  const int64_t rows = x.heads() * p.query_length, element = dtype_bytes(p.dtype, 1);
  p.v_row_stride = p.out_row_stride = p.value_size;
  p.v_head_stride = p.kv_length * p.value_size;
  p.v_batch_stride = p.kv_heads * p.v_head_stride;
  p.out_head_stride = p.query_length * p.value_size;
  p.out_batch_stride = p.query_heads * p.out_head_stride;
  const bool mass = x.s.kind == GATUN_SELECT_MASS;
  if (!mass) {
    p.lse_head_stride = p.query_length;
    p.lse_batch_stride = p.query_heads * p.query_length;
  }
  Buffer v(p.batch * p.v_batch_stride * element), sinks(p.query_heads * 4);
  v.fill_floats(rng, p.dtype, Values::normal);
  sinks.fill_floats(rng, GATUN_F32, Values::normal);
  Buffer out(rows * p.value_size * 4), lse(mass ? 0 : rows * 4), density(x.heads() * 4);
  // By MASS the strides are those of lse_before, in which rows may be one: there is no lse to write.
  check_status(
      gatun_attention_selected(&p, &x.s, nullptr, x.q, x.k, v.data(), x.q_starts, x.kv_starts, nullptr, floats(sinks),
                               nullptr, x.lse, out.data(), mass ? nullptr : floats(lse), floats(density)),
      true, "gatun_attention_selected");
  for (int64_t i = 0; i < x.heads(); ++i) {
    const float kept = floats(density)[i];
    if (!(kept >= 0 && kept <= 1)) defect("density[%lld] = %g", static_cast<long long>(i), double{kept});
  }
  const int64_t mask_rows = x.heads() * p.query_blocks;
  std::vector<int64_t> offsets(static_cast<size_t>(mask_rows + 1)), none(offsets.size());
  std::vector<int32_t> blocks(x.map.size() + 1);
  check_status(gatun_block_mask_from_map(mask_rows, x.s.key_blocks, x.map.data(), offsets.data(), blocks.data(),
                                         static_cast<int64_t>(x.map.size()), none.data(), nullptr, 0),
               true, "gatun_block_mask_from_map");
  p.mask_batch = p.batch;
  p.mask_heads = p.query_heads;
  p.full_count = offsets.back();
  Buffer out_of_steps(out.bytes()), lse_of_steps(lse.bytes());
  check_status(gatun_attention(&p, x.q, x.k, v.data(), x.q_starts, x.kv_starts, nullptr, floats(sinks), nullptr,
                               offsets.data(), blocks.data(), none.data(), nullptr, nullptr, out_of_steps.data(),
                               mass ? nullptr : floats(lse_of_steps)),
               true, "gatun_attention");
  if (out.copy() != out_of_steps.copy() || lse.copy() != lse_of_steps.copy()) {
    defect("gatun_attention_selected differs from its steps");
  }
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
  p.query_length = input.rarely() ? 1 : input.size();
  p.kv_length = input.rarely() ? 1 : input.size();
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
  p.q_row_stride = p.query_length == 1 ? input.size() : input.stride(p.head_size);  // of one row: any number
  p.k_row_stride = p.kv_length == 1 ? input.size() : input.stride(p.head_size);
  for (int64_t* const stride : {&p.q_head_stride, &p.k_head_stride, &p.q_batch_stride, &p.k_batch_stride}) {
    *stride = input.rarely() ? input.size() : input.range(0, 300);
  }
  p.lse_head_stride = input.range(0, 50);
  p.lse_batch_stride = input.range(0, 50);

  int64_t counts[] = {0, 0, 0, 0};  // of q, k, lse, map
  std::vector<int64_t> q_offsets, kv_offsets;
  if (valid) {
    if (p.batch < 4 && p.query_length < 1000 && p.kv_length < 1000 && input.range(0, 2) == 0) {
      q_offsets = random_offsets(input, p.batch, p.query_length, &valid);
      kv_offsets = random_offsets(input, p.batch, p.kv_length, &valid);
    }
    // With offsets all items share one tensor, and the batch strides may be any numbers.
    const bool ragged = !q_offsets.empty();
    const auto memory = [&](int64_t batch_stride, int64_t heads, int64_t head_stride, int64_t rows, int64_t row_stride,
                            int64_t columns) {
      return ragged ? elements(p.batch > 0, 0, heads, head_stride, rows, row_stride, columns)
                    : elements(p.batch, batch_stride, heads, head_stride, rows, row_stride, columns);
    };
    counts[0] = memory(p.q_batch_stride, p.query_heads, p.q_head_stride, p.query_length, p.q_row_stride, p.head_size);
    counts[1] = memory(p.k_batch_stride, p.kv_heads, p.k_head_stride, p.kv_length, p.k_row_stride, p.head_size);
    if (s.kind == GATUN_SELECT_MASS) {
      counts[2] = memory(p.lse_batch_stride, p.query_heads, p.lse_head_stride, p.query_length, 1, 1);
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
  Buffer q(counts[0] * element), k(counts[1] * element), lse(counts[2] * 4), map(counts[3]);
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
  if (p.batch * p.query_heads * std::max(p.query_length, p.kv_length) > (1 << 16)) return;  // rows that are one row
  const Given given = {p, s, q.data(), k.data(), q_starts, kv_starts, lse_at, map.copy()};
  const bool lines = s.kind == GATUN_SELECT_VERTICAL_SLASH;
  if ((lines ? by_lines(given) : by_scores(given)) != given.map)
    defect("gatun_attention_select differs from its steps");
  check_budgets(given, rng);
  check_selected(given, rng);
}

}  // namespace gatun::fuzz
