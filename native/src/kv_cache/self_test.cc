#include "self_test/self_test.h"

#include <cstring>

#include "kv_cache/reference.h"
#include "kv_cache/table.h"

namespace gatun::kv_cache {
namespace {

// Rows of f32 into slots of values and back: bit for bit the reference's.
bool agrees(Tier tier, int32_t dtype, int64_t size) {
  constexpr int64_t kTokens = 3;
  float x[kTokens * 256];
  SmallValues values;
  for (float& value : x) value = 500 * values.next();
  Call call{};
  call.p.struct_size = sizeof(call.p);
  call.p.dtype = GATUN_F32;
  call.p.threads = 1;
  call.p.tokens = kTokens;
  call.p.x_row_stride = size;
  gatun_kv_layout& l = call.pool.layout;
  l.struct_size = sizeof(l);
  l.dtype = dtype;
  l.size = size;
  l.heads = l.pages = 1;
  l.page_size = kTokens;
  l.row_stride = dtype_bytes(dtype, size);
  const int64_t slots[kTokens] = {2, 0, 1};
  uint16_t mine[kTokens * 256] = {}, expected[kTokens * 256] = {};
  call.pool.pages = reinterpret_cast<uint8_t*>(expected);
  reference_write(call, x, slots);
  if (write(tier, &call.p, &l, x, slots, mine, nullptr, nullptr) != GATUN_OK) return false;
  if (std::memcmp(mine, expected, sizeof(mine)) != 0) return false;
  float back[kTokens * 256] = {}, expected_back[kTokens * 256] = {};
  reference_read(call, slots, expected_back);
  if (read(tier, &call.p, &l, mine, nullptr, nullptr, slots, back) != GATUN_OK) return false;
  return std::memcmp(back, expected_back, sizeof(back)) == 0;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const int64_t size : {int64_t{8}, int64_t{64}, int64_t{200}}) {
      ++cases;
      wrong += !agrees(tier, row.from, size);
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::kv_cache
