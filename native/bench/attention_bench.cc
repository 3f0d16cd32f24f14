// Every row of attention's table on one thread, through the entry with the row's tier as its limit: 8 heads of 128,
// 2048 queries and keys; short: 12 heads of 32, 40 queries and keys, of a sentence in a small encoder.
//
//   <row>/<full|causal|short>[/d:<percent of the blocks of 64 x 64 that are kept>]
//
// Operations count 2 for each product of q k^T and of the exponentials and v that is needed: causal, half of all;
// of blocks, those of kept ones. Bytes are q, k, v and out once.
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "attention/table.h"
#include "base/dtype.h"
#include "bench.h"

namespace gatun::bench {
namespace {

using Row = KernelRow<attention::Kernel>;

constexpr int64_t kBlock = 64;
constexpr int kAll = 100;

struct Case {
  const char* name;
  int64_t heads, length, head_size;
  bool causal;
  int percent;

  int64_t elements() const { return heads * length * head_size; }
  int64_t blocks() const { return length / kBlock; }
};
constexpr Case kCases[] = {{"full", 8, 2048, 128, false, kAll},
                           {"causal", 8, 2048, 128, true, kAll},
                           {"full", 8, 2048, 128, false, 25},
                           {"causal", 8, 2048, 128, true, 25},
                           {"short", 12, 40, 32, false, kAll}};

// Normal values as dtype.
Memory values(int32_t dtype, int64_t count) {
  Memory memory = allocate(dtype_bytes(dtype, count));
  const std::vector<float> normal = normal_values(count);
  for (int64_t i = 0; i < count; ++i) {
    const float value = normal[static_cast<size_t>(i)];
    if (dtype == GATUN_F32) {
      reinterpret_cast<float*>(memory.get())[i] = value;
    } else {
      reinterpret_cast<uint16_t*>(memory.get())[i] = dtype == GATUN_BF16 ? f32_to_bf16(value) : f32_to_f16(value);
    }
  }
  return memory;
}

// Random blocks, the same number of each head, with the diagonal if it is causal; and the pairs of a query and a key
// in them that see each other.
struct Mask {
  std::vector<int64_t> full_offsets = {0}, partial_offsets;
  std::vector<int32_t> blocks;
  double pairs = 0;

  explicit Mask(const Case& kept) : partial_offsets(static_cast<size_t>(kept.heads * kept.blocks() + 1)) {
    std::mt19937 random(1);
    for (int64_t row = 0; row < kept.heads * kept.blocks(); ++row) {
      const int64_t query = row % kept.blocks();
      const int64_t allowed = kept.causal ? query + 1 : kept.blocks();
      std::vector<int32_t> list;
      for (int64_t key = 0; key < allowed; ++key) {
        const bool diagonal = kept.causal && key == query;
        if (!diagonal && static_cast<int>(random() % kAll) >= kept.percent) continue;
        blocks.push_back(static_cast<int32_t>(key));
        pairs += static_cast<double>(diagonal ? kBlock * (kBlock + 1) / 2 : kBlock * kBlock);
      }
      full_offsets.push_back(static_cast<int64_t>(blocks.size()));
    }
  }
};

// Below avx512vnni all products are in f32, but those of int8.
double limit_seconds_of(const Row& row, double operations) {
  const bool dots = row.tier == Tier::avx512vnni;
  const bool integers = row.to == GATUN_ATTENTION_INT8;
  const double floats =
      limit(dots && (integers || row.from == GATUN_BF16) ? GATUN_LIMIT_BF16_DOT : GATUN_LIMIT_FMA, row.tier);
  return integers && row.tier != Tier::scalar
             ? operations / 2 / limit(GATUN_LIMIT_INT8_DOT, row.tier) + operations / 2 / floats
             : operations / floats;
}

void attend(benchmark::State& state, const Row& row, const Case& problem) {
  const int64_t heads = problem.heads, length = problem.length, size = problem.head_size, elements = problem.elements();
  const Memory q = values(row.from, elements), k = values(row.from, elements), v = values(row.from, elements);
  const Memory out = allocate(dtype_bytes(row.from, elements));
  gatun_attention_params p{};
  p.struct_size = sizeof(p);
  p.dtype = p.out_dtype = row.from;
  p.mode = row.to;
  p.threads = 1;
  p.causal = problem.causal ? 1 : 0;
  p.scale = 1 / std::sqrt(static_cast<float>(size));
  p.window_left = p.window_right = -1;
  p.batch = 1;
  p.query_heads = p.kv_heads = heads;
  p.query_length = p.kv_length = length;
  p.head_size = p.value_size = size;
  p.q_batch_stride = p.k_batch_stride = p.v_batch_stride = p.out_batch_stride = elements;
  p.q_head_stride = p.k_head_stride = p.v_head_stride = p.out_head_stride = length * size;
  p.q_row_stride = p.k_row_stride = p.v_row_stride = p.out_row_stride = size;
  attention::Inputs inputs{};
  inputs.q = q.get();
  inputs.k = k.get();
  inputs.v = v.get();
  double pairs = static_cast<double>(heads * (problem.causal ? length * (length + 1) / 2 : length * length));
  const Mask mask(problem);
  if (problem.percent != kAll) {
    p.query_block = p.key_block = kBlock;
    p.mask_batch = 1;
    p.mask_heads = heads;
    p.query_blocks = problem.blocks();
    p.full_count = static_cast<int64_t>(mask.blocks.size());
    inputs.full_offsets = mask.full_offsets.data();
    inputs.full_blocks = mask.blocks.data();
    inputs.partial_offsets = mask.partial_offsets.data();
    inputs.partial_blocks = mask.blocks.data();
    pairs = mask.pairs;
  }
  const Work work{4.0 * static_cast<double>(dtype_bytes(row.from, elements)), 4.0 * static_cast<double>(size) * pairs};
  run(state, work, limit_seconds_of(row, work.operations),
      [&] { return attention::run(row.tier, &p, inputs, out.get(), nullptr) == GATUN_OK; });
}

}  // namespace

void register_attention() {
  for (const Row& row : attention::table()) {
    if (!tier_supported(row.tier)) continue;
    for (const Case& problem : kCases) {
      const std::string name = std::string(row.name) + "/" + problem.name +
                               (problem.percent == kAll ? "" : "/d:" + std::to_string(problem.percent));
      benchmark::RegisterBenchmark(name.c_str(), attend, row, problem)->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace gatun::bench
