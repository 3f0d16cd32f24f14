// Pools on a device beside ones on the host, for the CPU's definition.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "device_buffer.h"
#include "gatun/cuda.h"
#include "gatun/cuda_kv_cache.h"
#include "kv_cache/test_pool.h"
#if defined(GATUN_EMULATED)
#include "settings.h"
#endif

namespace gatun::cuda::kv_cache {

using gatun::kv_cache::Call;
using gatun::kv_cache::Format;
using gatun::kv_cache::kCodes;
using gatun::kv_cache::kValues;
using gatun::kv_cache::make_layout;
using gatun::kv_cache::make_params;
using gatun::kv_cache::Order;
using gatun::kv_cache::row_bytes;
using gatun::kv_cache::scale_rows;
using gatun::kv_cache::scales_of_row;
using test::DeviceBuffer;
using test::Rng;

// Every order of threads with every time of effects, in turn.
inline void change_conditions(int64_t number) {
#if defined(GATUN_EMULATED)
  emulator::settings().order = static_cast<emulator::Order>(number % 3);
  emulator::settings().effects = static_cast<emulator::Effects>(number / 3 % 2);
  emulator::settings().seed = static_cast<uint64_t>(number);
#else
  (void)number;
#endif
}

// Random bytes, and scales that are numbers.
class HostPool {
 public:
  HostPool(const gatun_kv_layout& layout, Rng rng) : layout_(layout) {
    const auto extent = [&](int64_t page, int64_t head, int64_t row, int64_t count, int64_t columns) {
      if (layout.pages == 0 || layout.heads == 0 || count == 0) return int64_t{0};
      return (layout.pages - 1) * page + (layout.heads - 1) * head + (count - 1) * row + columns;
    };
    rows = rng.integers<uint8_t>(
        extent(layout.page_stride, layout.head_stride, layout.row_stride, layout.page_size, row_bytes(layout)), 0, 255);
    const int64_t count = extent(layout.scale_page_stride, layout.scale_head_stride, layout.scale_row_stride,
                                 scale_rows(layout), scales_of_row(layout));
    for (int64_t i = 0; i < count; ++i) {
      scales.push_back(f32_to_f16(rng.uniform(-2, 2)));
      if (layout.zero_point != GATUN_ZERO_NONE) zeros.push_back(f32_to_f16(rng.uniform(-9, 9)));
    }
  }

  gatun::kv_cache::Pool pool() {
    return {layout_, rows.data(), scales.empty() ? nullptr : scales.data(), zeros.empty() ? nullptr : zeros.data()};
  }

  std::vector<uint8_t> rows;
  std::vector<uint16_t> scales, zeros;

 private:
  gatun_kv_layout layout_;
};

// A copy of it, its bases `offset` elements off.
struct DeviceMemory {
  explicit DeviceMemory(const HostPool& host, const gatun_kv_layout& layout, int64_t offset = 0)
      : rows_(host.rows, offset * dtype_bytes(layout.dtype, 1)),
        scales_(host.scales, offset),
        zeros_(host.zeros, offset) {}

  void* rows() { return rows_.data(); }
  void* scales() { return scales_.count() > 0 ? scales_.data() : nullptr; }
  void* zeros() { return zeros_.count() > 0 ? zeros_.data() : nullptr; }

  ::testing::AssertionResult same(const HostPool& host) const {
    if (auto rows = test::identical(rows_.copy(), host.rows); !rows) return rows << " (rows)";
    if (auto scales = test::identical(scales_.copy(), host.scales); !scales) return scales << " (scales)";
    return test::identical(zeros_.copy(), host.zeros) << " (zeros)";
  }

 private:
  DeviceBuffer<uint8_t> rows_;
  DeviceBuffer<uint16_t> scales_, zeros_;
};

inline void expect_faults(const DeviceBuffer<gatun_cuda_faults>& faults, int64_t value, int64_t block) {
  EXPECT_EQ(faults.copy()[0].value, value);
  EXPECT_EQ(faults.copy()[0].block, block);
}

}  // namespace gatun::cuda::kv_cache
