#include "decode/select.h"

#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"
#include "decode/check.h"
#include "kv_cache/layout.h"

namespace gatun::cuda::decode {

#define GATUN_DECODE_KERNEL(name, tile_rows, most_size) int32_t run_##name(const Job& job, void* stream);
#include "decode/device_kernels.inc"
#undef GATUN_DECODE_KERNEL

namespace {

constexpr KernelRow kTable[] = {
#define GATUN_DECODE_KERNEL(name, tile_rows, most_size) {#name, tile_rows, most_size, run_##name},
#include "decode/device_kernels.inc"
#undef GATUN_DECODE_KERNEL
};

using LongLong = long long;

// Of 1024 keys, or of 256 where a device would have too few of them; of more where there would be too many.
constexpr int64_t kPartKeys = 1024, kSmallPartKeys = 256, kManyBlocks = 256, kMostParts = 1 << 15;

bool is_small_float(int32_t dtype) { return dtype == GATUN_F8E4M3 || dtype == GATUN_F8E5M2; }

// What tiles demand of a pool.
const char* why_no_tiles(const gatun_kv_layout& l, const void* rows, int64_t most_size) {
  if (l.pages == 0) return "there are no pages";  // nor, perhaps, scales
  if (l.size > most_size) return "rows are longer";
  if (l.dtype == GATUN_F32) return "F32 has no tensor cores";
  if (l.scaling == GATUN_KV_PER_CHANNEL) return "scales are those of channels";
  const int64_t unit = l.dtype == GATUN_U2 ? 64 : 32;
  if (l.scaling != GATUN_KV_UNSCALED && l.group != l.size && l.group % unit != 0) {
    return l.dtype == GATUN_U2 ? "groups are no multiples of 64" : "groups are no multiples of 32";
  }
  if (reinterpret_cast<uintptr_t>(rows) % 16 != 0) return "rows begin at no multiple of 16 bytes";
  if (gatun::kv_cache::row_bytes(l) % 16 != 0) return "rows are no multiples of 16 bytes";
  if (l.row_stride % 16 != 0 || l.head_stride % 16 != 0 || l.page_stride % 16 != 0) {
    return "strides of rows are no multiples of 16 bytes";
  }
  return l.page_size > INT32_MAX || l.pages > INT32_MAX ? "pages are too large" : nullptr;
}

}  // namespace

KernelRows<KernelRow> kernel_rows() { return {kTable, static_cast<int>(sizeof(kTable) / sizeof(kTable[0]))}; }

const char* why_not(const KernelRow& row, const Call& call, const void* k, const void* v) {
  if (row.most_size == 0) return nullptr;
  const int32_t q = call.p.dtype, keys = call.k.dtype;
  if (call.k.scaling == GATUN_KV_UNSCALED && (q == GATUN_F32 || (keys != q && !is_small_float(keys)))) {
    return "q and keys are of dtypes that do not go together";
  }
  if (parts_of(call).keys > int64_t{1} << 30) return "the table has room for too many keys";
  if (const char* why = why_no_tiles(call.k, k, row.most_size)) return why;
  return call.has_v ? why_no_tiles(call.v, v, row.most_size) : nullptr;
}

const KernelRow& select(const Call& call, const void* k, const void* v) {
  return kernel_rows().first_that_takes([&](const KernelRow& row) { return why_not(row, call, k, v); });
}

Parts parts_of(const Call& call) {
  Parts parts;
  parts.most_keys = gatun::decode::most_keys(call);
  const int64_t rows = call.k.heads == 0 ? 0 : call.p.query_heads / call.k.heads * call.p.query_length;
  const int64_t of_all = blocks_of(parts.most_keys, kPartKeys);
  const bool many = call.k.heads >= kManyBlocks || of_all >= kManyBlocks ||
                    call.k.heads * of_all * std::min(blocks_of(rows, 16), kManyBlocks) >= kManyBlocks;
  parts.keys = many ? std::max(kPartKeys, blocks_of(blocks_of(parts.most_keys, kMostParts), kPartKeys) * kPartKeys)
                    : kSmallPartKeys;
  parts.count = std::max<int64_t>(1, blocks_of(parts.most_keys, parts.keys));
  return parts;
}

int32_t workspace_bytes(const Call& call, int64_t* bytes) {
  const Parts parts = parts_of(call);
  const double rows = static_cast<double>(call.p.batch) * static_cast<double>(call.p.query_heads) *
                      static_cast<double>(call.p.query_length);
  const double count = rows * static_cast<double>(parts.count);
  // A block does a row of q at least.
  if (count > static_cast<double>(INT32_MAX)) {
    return fail(GATUN_OUT_OF_RESOURCES, "%g rows of q with %lld parts of keys; possible: up to 2^31 of both", rows,
                LongLong{parts.count});
  }
  *bytes = static_cast<int64_t>(count) * ((call.has_v ? call.v.size : 0) + 2) * 4;
  return GATUN_OK;
}

void explain(const Call& call, const Device& device, Text& out) {
  const KernelRow& chosen = select(call, nullptr, nullptr);
  out.add("%s: the best kernel for keys of %s, values of %s and q of %s on device %d (%s)%s\n", chosen.name,
          dtype_name(call.k.dtype), call.has_v ? dtype_name(call.v.dtype) : "none", dtype_name(call.p.dtype),
          device.index, device.name, chosen.most_size > 0 ? ", as long as pools begin at multiples of 16 bytes" : "");
  for (const KernelRow& row : kernel_rows()) {
    if (&row == &chosen) break;
    out.add("  not %s: %s\n", row.name, why_not(row, call, nullptr, nullptr));
  }
  const Parts parts = parts_of(call);
  out.add("  up to %lld keys, cut at multiples of %lld; %d rows of q pass over keys together\n",
          LongLong{parts.most_keys}, LongLong{parts.keys}, chosen.tile_rows);
  out.add("decode_merge: adds the parts in ascending order\n");
}

}  // namespace gatun::cuda::decode
