// Decoding on one thread, through the entry: one query of 32 heads of 128 for each of the items that take 512 MiB of
// keys and values together, one after the other; pages of 16 keys in random order.
//
//   decode/<keys and values>/<mode>/kv:<keys>/heads:32/<heads of the pools>
//
// Bytes are keys and values with their scales once.
#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/dtype.h"
#include "bench.h"
#include "decode/table.h"
#include "kv_cache/layout.h"

namespace gatun::bench {
namespace {

constexpr int64_t kQueryHeads = 32, kSize = 128, kPageSize = 16;
constexpr double kLeastBytes = 512.0 * 1024 * 1024;

struct Format {
  const char* name;
  int32_t dtype;
  int64_t group;  // of PER_TOKEN scales, or 0
  int32_t zero_point;
};
constexpr Format kFormats[] = {
    {"bf16", GATUN_BF16, 0, GATUN_ZERO_NONE},      {"f16", GATUN_F16, 0, GATUN_ZERO_NONE},
    {"f8e4m3", GATUN_F8E4M3, 0, GATUN_ZERO_NONE},  {"int8", GATUN_I8, kSize, GATUN_ZERO_NONE},
    {"int4", GATUN_U4, kSize, GATUN_ZERO_NONE},    {"int4_g32_z", GATUN_U4, 32, GATUN_ZERO_FLOAT},
    {"int2_g32_z", GATUN_U2, 32, GATUN_ZERO_FLOAT}};

struct Case {
  Format format;
  int32_t mode;
  int64_t keys, heads;
};

// Keys or values of a pool: any codes do, scales are 1 / 64.
struct Pool {
  gatun_kv_layout layout{};
  Memory rows, scales, zeros;

  Pool(const Format& format, int64_t heads, int64_t pages)
      : layout(layout_of(format, heads, pages)),
        rows(allocate(pages * layout.page_stride)),
        scales(allocate(std::max<int64_t>(pages * layout.scale_page_stride * 2, 64))),
        zeros(allocate(std::max<int64_t>(pages * layout.scale_page_stride * 2, 64))) {
    const std::vector<float> normal = normal_values(1 << 16);
    for (int64_t i = 0; i < pages * layout.page_stride; i += 2) {
      const float value = normal[static_cast<size_t>(i * 7 % (1 << 16))];
      uint16_t bits = f32_to_bf16(value);
      if (format.dtype == GATUN_F16) bits = f32_to_f16(value);
      if (format.dtype == GATUN_F8E4M3) bits = static_cast<uint16_t>(0x3030 + (bits & 0x0f0f));
      if (format.group != 0) bits = static_cast<uint16_t>(float_bits(value) * 0x9e3779b1u >> 16);
      std::memcpy(rows.get() + i, &bits, 2);
    }
    for (int64_t i = 0; i < pages * layout.scale_page_stride; ++i) {
      reinterpret_cast<uint16_t*>(scales.get())[i] = f32_to_f16(1.0f / 64);
      reinterpret_cast<uint16_t*>(zeros.get())[i] = f32_to_f16(-0.1f);
    }
  }

  static gatun_kv_layout layout_of(const Format& format, int64_t heads, int64_t pages) {
    gatun_kv_layout layout{};
    layout.struct_size = sizeof(layout);
    layout.dtype = format.dtype;
    layout.scaling = format.group == 0 ? GATUN_KV_UNSCALED : GATUN_KV_PER_TOKEN;
    layout.zero_point = format.zero_point;
    layout.size = kSize;
    layout.group = format.group;
    layout.heads = heads;
    layout.pages = pages;
    layout.page_size = kPageSize;
    layout.row_stride = dtype_bytes(format.dtype, kSize);
    layout.head_stride = kPageSize * layout.row_stride;
    layout.page_stride = heads * layout.head_stride;
    layout.scale_row_stride = format.group == 0 ? 0 : blocks_of(kSize, format.group);
    layout.scale_head_stride = kPageSize * layout.scale_row_stride;
    layout.scale_page_stride = heads * layout.scale_head_stride;
    return layout;
  }

  static double bytes_of_key(const Format& format) {
    const gatun_kv_layout layout = layout_of(format, 1, 1);
    const double scales = static_cast<double>(layout.scale_row_stride) * 2;
    return static_cast<double>(layout.row_stride) + (format.zero_point != GATUN_ZERO_NONE ? 2 : 1) * scales;
  }
};

void attend(benchmark::State& state, const Case& problem) {
  const double bytes =
      2 * Pool::bytes_of_key(problem.format) * static_cast<double>(problem.keys) * static_cast<double>(problem.heads);
  const int64_t items = static_cast<int64_t>(kLeastBytes / bytes) + 1, pages_of_item = problem.keys / kPageSize;
  const Pool k(problem.format, problem.heads, items * pages_of_item);
  const Pool v(problem.format, problem.heads, items * pages_of_item);
  std::vector<int32_t> table(static_cast<size_t>(items * pages_of_item));
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), std::mt19937(1));
  const std::vector<float> normal = normal_values(kQueryHeads * kSize);
  std::vector<uint16_t> q, out(kQueryHeads * kSize);
  for (const float value : normal) q.push_back(f32_to_bf16(value));
  gatun_decode_params p{};
  p.struct_size = sizeof(p);
  p.dtype = p.out_dtype = GATUN_BF16;
  p.mode = problem.mode;
  p.threads = 1;
  p.scale = 0.08838834764831845F;  // 1 / sqrt(128)
  p.window_left = -1;
  p.batch = 1;
  p.query_heads = kQueryHeads;
  p.query_length = 1;
  p.table_heads = 1;
  p.table_stride = pages_of_item;
  p.q_head_stride = p.out_head_stride = kSize;
  p.q_row_stride = p.out_row_stride = kSize;
  const bool scaled = problem.format.group != 0, zeros = problem.format.zero_point != GATUN_ZERO_NONE;
  decode::Inputs in{};
  in.q = q.data();
  in.k = k.rows.get();
  in.v = v.rows.get();
  in.k_scales = scaled ? k.scales.get() : nullptr;
  in.v_scales = scaled ? v.scales.get() : nullptr;
  in.k_zeros = zeros ? k.zeros.get() : nullptr;
  in.v_zeros = zeros ? v.zeros.get() : nullptr;
  in.lengths = &problem.keys;
  int64_t item = 0;
  const Work work{bytes, 4.0 * kSize * kQueryHeads * static_cast<double>(problem.keys)};
  run(state, work, bytes / limit(GATUN_LIMIT_READ, active_tier()), [&] {
    in.table = table.data() + item++ % items * pages_of_item;
    return decode::run(active_tier(), &p, &k.layout, &v.layout, in, out.data(), nullptr, nullptr) == GATUN_OK;
  });
}

}  // namespace

void register_decode() {
  for (const Format& format : kFormats) {
    for (const int32_t mode : {GATUN_DECODE_EXACT, GATUN_DECODE_INT8}) {
      if (mode == GATUN_DECODE_INT8 && format.group == 0) continue;
      for (const int64_t keys : {8192, 32768}) {
        for (const int64_t heads : {32, 8}) {
          const std::string name = std::string("decode/") + format.name +
                                   (mode == GATUN_DECODE_INT8 ? "/int8_q" : "/exact_q") +
                                   "/kv:" + std::to_string(keys) + "/heads:32/" + std::to_string(heads);
          benchmark::RegisterBenchmark(name.c_str(), attend, Case{format, mode, keys, heads})
              ->Unit(benchmark::kMillisecond);
        }
      }
    }
  }
}

}  // namespace gatun::bench
