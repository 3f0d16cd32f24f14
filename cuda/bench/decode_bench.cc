// Decoding: one query of 32 heads against long paged caches of 8 heads in each format, beside the bandwidth of reading
// and PyTorch's attention to bf16 without pages; and writing such caches.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <vector>

#include "base/dtype.h"
#include "decode/reference.h"
#include "gatun/cuda_decode.h"
#include "gatun/cuda_kv_cache.h"
#include "kernels.h"
#include "kv_cache/layout.h"
#include "session.h"

namespace gatun::bench {
namespace {

struct Format {
  int32_t dtype, scaling, zero_point;
  int64_t group;  // 0: none, or the whole row
};
constexpr Format kBf16 = {GATUN_BF16, GATUN_KV_UNSCALED, GATUN_ZERO_NONE, 0},
                 kE4m3 = {GATUN_F8E4M3, GATUN_KV_UNSCALED, GATUN_ZERO_NONE, 0},
                 kI8 = {GATUN_I8, GATUN_KV_PER_TOKEN, GATUN_ZERO_NONE, 0},
                 kU4 = {GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_NONE, 0},
                 kU4Zero32 = {GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT, 32},
                 kU4Channels = {GATUN_U4, GATUN_KV_PER_CHANNEL, GATUN_ZERO_FLOAT, 32},
                 kU2Zero = {GATUN_U2, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT, 0};

struct Case {
  const char* name;
  Format k, v;
  int64_t batch, length;
  double target;  // % of the bandwidth of reading, or 0
  bool quick;
};
constexpr Case kCases[] = {
    {"bf16", kBf16, kBf16, 1, 32768, 80, true},
    {"e4m3", kE4m3, kE4m3, 1, 32768, 0, true},
    {"int8", kI8, kI8, 1, 32768, 0, true},
    {"int4", kU4, kU4, 1, 32768, 60, true},
    {"int4 zero g32", kU4Zero32, kU4Zero32, 1, 32768, 0, false},
    {"K int4, V int2 zero", kU4, kU2Zero, 1, 32768, 0, false},
    {"K int4 per channel, V int4", kU4Channels, kU4, 1, 32768, 0, false},
    {"bf16", kBf16, kBf16, 16, 4096, 0, true},
    {"int4", kU4, kU4, 16, 4096, 0, true},
    {"bf16", kBf16, kBf16, 1, 4096, 0, false},
};
constexpr int64_t kHeads = 8, kQueryHeads = 32, kSize = 128, kPageSize = 32;

std::string name_of(const Case& c, int64_t length) {
  return std::string(c.name) + " heads " + std::to_string(kQueryHeads) + "/" + std::to_string(kHeads) + " batch " +
         std::to_string(c.batch) + " keys " + std::to_string(length);
}

gatun_kv_layout layout_of(const Format& format, int64_t pages) {
  gatun_kv_layout l{};
  l.struct_size = sizeof(l);
  l.dtype = format.dtype;
  l.scaling = format.scaling;
  l.zero_point = format.zero_point;
  l.size = kSize;
  l.group = format.scaling == GATUN_KV_UNSCALED ? 0 : format.group == 0 ? kSize : format.group;
  l.heads = kHeads;
  l.pages = pages;
  l.page_size = kPageSize;
  l.row_stride = kv_cache::row_bytes(l);
  l.head_stride = kPageSize * l.row_stride;
  l.page_stride = kHeads * l.head_stride;
  l.scale_row_stride = kv_cache::scales_of_row(l);
  l.scale_head_stride = kv_cache::scale_rows(l) * l.scale_row_stride;
  l.scale_page_stride = kHeads * l.scale_head_stride;
  return l;
}

// A pool of keys or values.
struct Pool {
  gatun_kv_layout layout;
  Memory rows, scales, zeros;

  Pool(const Format& format, int64_t pages) : layout(layout_of(format, pages)) {
    rows = Memory(pages * layout.page_stride);
    const bool scaled = layout.scaling != GATUN_KV_UNSCALED;
    scales = Memory(scaled ? pages * layout.scale_page_stride * 2 : 0);
    zeros = Memory(layout.zero_point != GATUN_ZERO_NONE ? scales.bytes() : 0);
  }
  int64_t bytes() const { return rows.bytes() + scales.bytes() + zeros.bytes(); }
};

struct Write {
  gatun_kv_rows_params params{};
  const Memory &x, &slots, &faults;

  void operator()(Pool& pool) const {
    must(gatun_cuda_kv_cache_write(&params, &pool.layout, x.get(), slots.as<int64_t>(), pool.rows.get(),
                                   pool.scales.get(), pool.zeros.get(), faults.as<gatun_cuda_faults>(), stream()),
         "gatun_cuda_kv_cache_write");
  }
};

Record record_of(const std::string& name, const std::string& impl, const Summary& seconds, double bytes, double limit) {
  Record record{"decode", name, impl, "time", "us", {}, {}, {}, {}, "", ""};
  record.value = {1e6 * seconds.median, 1e6 * seconds.min, 1e6 * seconds.max};
  record.timed = "the call; moves " + std::to_string(std::llround(bytes)) + " bytes";
  record.percent_of_limit = 100 * bytes / seconds.median / limit;
  return record;
}

void measure(Session& session, Case c) {
  if (session.is_tiny()) c.batch = std::min<int64_t>(c.batch, 2);
  const int64_t length = session.is_tiny() ? 64 : c.length, tokens = c.batch * length, pages = tokens / kPageSize;
  const std::string name = name_of(c, length);
  // Pages in no order.
  std::vector<int32_t> table(static_cast<size_t>(pages));
  for (int64_t i = 0; i < pages; ++i) table[static_cast<size_t>(i)] = static_cast<int32_t>(i * 7919 % pages);
  if (std::gcd(pages, int64_t{7919}) != 1) std::iota(table.begin(), table.end(), 0);
  std::vector<int64_t> slots;
  for (int64_t t = 0; t < tokens; ++t) {
    slots.push_back(table[static_cast<size_t>(t / kPageSize)] * kPageSize + t % kPageSize);
  }
  const std::vector<int64_t> lengths(static_cast<size_t>(c.batch), length);
  Memory x(kHeads * tokens * kSize * 2), device_slots(tokens * 8), device_table(pages * 4), faults(16);
  Memory q(c.batch * kQueryHeads * kSize * 2), out(q.bytes()), device_lengths(c.batch * 8);
  copy_to_device(device_slots.get(), slots.data(), tokens * 8);
  copy_to_device(device_table.get(), table.data(), pages * 4);
  copy_to_device(device_lengths.get(), lengths.data(), c.batch * 8);
  must(fill(GATUN_BF16, q.bytes() / 2, 3, q.get(), stream()), "fill");
  Write write{{}, x, device_slots, faults};
  write.params.struct_size = sizeof(write.params);
  write.params.dtype = GATUN_BF16;
  write.params.tokens = tokens;
  write.params.x_row_stride = kSize;
  write.params.x_head_stride = tokens * kSize;

  // The same keys and values, several times the cache.
  std::vector<Pool> k, v;
  do {
    k.emplace_back(c.k, pages);
    v.emplace_back(c.v, pages);
    for (Pool* const pool : {&k.back(), &v.back()}) {
      must(fill(GATUN_BF16, x.bytes() / 2, pool == &k.back() ? 1 : 2, x.get(), stream()), "fill");
      write(*pool);
    }
  } while (static_cast<int64_t>(k.size()) < turns_for(k[0].bytes() + v[0].bytes(), session.device.l2_bytes));

  gatun_decode_params p{};
  p.struct_size = sizeof(p);
  p.dtype = p.out_dtype = GATUN_BF16;
  p.scale = 1 / std::sqrt(static_cast<float>(kSize));
  p.causal = 1;
  p.window_left = -1;
  p.batch = c.batch;
  p.query_heads = kQueryHeads;
  p.query_length = p.table_heads = 1;
  p.table_stride = length / kPageSize;
  p.q_row_stride = p.q_head_stride = p.out_row_stride = p.out_head_stride = kSize;
  p.q_batch_stride = p.out_batch_stride = kQueryHeads * kSize;
  p.lse_batch_stride = kQueryHeads;
  p.lse_head_stride = 1;
  int64_t bytes = 0;
  must(gatun_cuda_decode_workspace_bytes(&p, &k[0].layout, &v[0].layout, 0, &bytes), "workspace");
  Memory workspace(bytes);
  const auto call = [&](int64_t turn) {
    Pool &a = k[static_cast<size_t>(turn)], &b = v[static_cast<size_t>(turn)];
    must(gatun_cuda_decode(&p, &a.layout, &b.layout, q.get(), a.rows.get(), a.scales.get(), a.zeros.get(), b.rows.get(),
                           b.scales.get(), b.zeros.get(), device_table.as<int32_t>(), device_lengths.as<int64_t>(),
                           nullptr, nullptr, out.get(), nullptr, nullptr, workspace.get(), bytes, stream()),
         "gatun_cuda_decode");
  };

  // A row of q against the definition.
  call(0);
  const auto host = [](const Memory& memory) { return to_host<uint8_t>(memory.get(), memory.bytes()); };
  const std::vector<uint8_t> planes[] = {host(q),         host(k[0].rows),   host(k[0].scales), host(k[0].zeros),
                                         host(v[0].rows), host(v[0].scales), host(v[0].zeros)};
  decode::Reference reference({p, k[0].layout, v[0].layout, true},
                              {planes[0].data(), planes[1].data(), planes[2].data(), planes[3].data(), planes[4].data(),
                               planes[5].data(), planes[6].data(), table.data(), lengths.data(), nullptr, nullptr});
  const int64_t b = c.batch - 1, h = kQueryHeads - 3;
  const decode::Row expected = reference.row(b, h, 0);
  const auto row = to_host<uint16_t>(out.at((b * kQueryHeads + h) * kSize * 2), kSize);
  double error = 0, norm = 0;
  bool right = true;
  for (size_t i = 0; i < kSize; ++i) {
    const double y = static_cast<double>(bf16_to_f32(row[i])), difference = std::fabs(y - expected.out[i]);
    error += difference * difference;
    norm += expected.out[i] * expected.out[i];
    right = right && difference <= 2 * expected.out_error[i] + 0x1p-8 * expected.out_magnitude[i] +
                                       0x1p-7 * std::fabs(expected.out[i]);
  }
  if (!right) {
    std::printf("WRONG: %s\n", name.c_str());
    session.failed = true;
    return;
  }

  const int64_t turns = static_cast<int64_t>(k.size());
  const std::vector<Summary> seconds =
      time_side_by_side({{"gatun", "", "", turns, call},
                         {"gatun", "", "", turns, [&](int64_t turn) { write(k[static_cast<size_t>(turn)]); }}},
                        session.effort);
  const double read = static_cast<double>(k[0].bytes() + v[0].bytes());
  Record record = record_of(name, "gatun", seconds[0], read, session.limits.read_bytes);
  record.rel_error = std::sqrt(error / norm);
  record.kernel = first_line([&](char* text, int64_t capacity) {
    return gatun_cuda_decode_explain(&p, &k[0].layout, &v[0].layout, 0, text, capacity);
  });
  session.records.add(record);
  if (c.target > 0) {
    session.records.add(Target{record.name, "% of the bandwidth of reading", c.target, record.percent_of_limit});
  }
  Record written = record_of("write keys of " + name, "gatun", seconds[1],
                             static_cast<double>(x.bytes() + k[0].bytes()), session.limits.copy_bytes);
  written.rel_error = 0;  // what is read is right
  written.kernel = first_line([&](char* text, int64_t capacity) {
    return gatun_cuda_kv_cache_explain(&write.params, &k[0].layout, 0, text, capacity);
  });
  session.records.add(written);

  if (session.torch == nullptr || c.k.dtype != GATUN_BF16) return;
  const std::string shape = std::to_string(c.batch) + " " + std::to_string(kQueryHeads) + " " + std::to_string(kHeads) +
                            " " + std::to_string(length) + " " + std::to_string(kSize);
  if (const auto time = session.torch->ask("decode_bf16 " + shape)) {
    session.records.add(record_of(name, time->impl, time->seconds, read, session.limits.read_bytes));
  }
}

}  // namespace

void bench_decode(Session& session) {
  print_heading("decode");
  for (const Case& c : kCases) {
    if (session.scale == Scale::quick && !c.quick) continue;
    measure(session, c);
    session.save();
  }
}

}  // namespace gatun::bench
