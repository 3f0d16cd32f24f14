// The packed form of sparse weights on a device (form.h), written in whole, and the search for what it cannot hold.
//
// Units: a thread makes what one lane has of a unit, or one list of it. Indices may be anything: they count modulo m,
// and metadata that tensor cores would not understand become those of the first two positions.
#include "base/quotient.h"
#include "nm_format/canonical.h"
#include "nm_matmul/packing.h"
#include "qmatmul/values.h"

namespace gatun::cuda::nm_matmul {
namespace {

using nm_format::grid_for;
using nm_format::kThreads;
using nm_format::report;

GATUN_DEVICE int index_at(const PackJob& job, int64_t index_row, int64_t slot) {
  return nm_format::index_of(job.indices + index_row * job.index_row_bytes, job.index_bits, slot);
}

GATUN_DEVICE uint32_t value_at(const PackJob& job, int64_t column, int64_t slot) {
  return nm_format::bits_of(job.values + column * job.value_row_bytes, job.form.value_dtype, slot);
}

// A slot of a column: where in its group it is kept, and what.
struct Kept {
  int index;
  uint32_t bits;
};
GATUN_DEVICE Kept kept_at(const PackJob& job, int64_t column, int64_t slot) {
  const Form& f = job.form;
  const int64_t group = quotient(slot, f.n);
  if (column >= f.columns || slot >= f.slots) return {static_cast<int>(slot - group * f.n), 0};
  const int index = index_at(job, quotient(column, f.vector), slot) & (f.m - 1);
  const bool inside = group * f.m + index < f.depth;
  return {index, inside ? value_at(job, column, slot) : 0};
}

// The metadata of `groups` groups of 2:4 from `slot` on.
GATUN_DEVICE uint32_t metadata_of(const PackJob& job, int64_t column, int64_t slot, int groups) {
  uint32_t metadata = 0;
  for (int i = 0; i < groups; ++i) {
    const int low = kept_at(job, column, slot + 2 * i).index, high = kept_at(job, column, slot + 2 * i + 1).index;
    metadata |= (low < high ? static_cast<uint32_t>(low | high << 2) : 4u) << 4 * i;
  }
  return metadata;
}

// The list of a column from `slot` on.
GATUN_DEVICE void pack_list(const PackJob& job, int64_t column, int64_t slot, uint32_t* mask, uint8_t* list) {
  const Form& f = job.form;
  uint32_t kept = 0, low = 0;
  for (int i = 0; i < f.list_slots; ++i) {
    const Kept own = kept_at(job, column, slot + i);
    kept |= 1u << (i / f.n * f.m + own.index);
    if (f.value_dtype == GATUN_F32) {
      reinterpret_cast<uint32_t*>(list)[i] = own.bits;
    } else if (f.value_dtype == GATUN_I8) {
      list[i] = static_cast<uint8_t>(own.bits);
    } else if (f.value_dtype == GATUN_U4) {
      low = i % 2 == 0 ? own.bits : low | own.bits << 4;
      list[i / 2] = static_cast<uint8_t>(low);
    } else {
      reinterpret_cast<uint16_t*>(list)[i] = static_cast<uint16_t>(own.bits);
    }
  }
  *mask = kept;
}

// The words of a lane, of columns `column` and `column` + 8, where `slot` is the first of the unit.
GATUN_DEVICE void pack_fragments16(const PackJob& job, int64_t column, int64_t slot, int lane, uint32_t* unit) {
  constexpr int kSlots = 16;  // of a segment
  const int t = lane % 4;
  const int64_t own = slot + t / 2 * kSlots + t % 2 * 8;
  unit[lane] = metadata_of(job, column, own, 4) | metadata_of(job, column + 8, own, 4) << 16;
  uint32_t* const values = unit + kMetadataBytes / 4;
  for (int segment = 0; segment < 2; ++segment) {
    uint32_t codes = 0;
    for (int i = 0; i < 4; ++i) {
      const int64_t first = slot + segment * kSlots + 2 * t + i / 2 * 8;
      const uint32_t low = kept_at(job, column + i % 2 * 8, first).bits,
                     high = kept_at(job, column + i % 2 * 8, first + 1).bits;
      codes |= (low | high << 16) << (i / 2 * 8 + i % 2 * 4);
      if (job.form.value_dtype != GATUN_U4) values[segment * 128 + lane * 4 + i] = low | high << 16;
    }
    if (job.form.value_dtype == GATUN_U4) values[segment * 32 + lane] = codes;
  }
}
GATUN_DEVICE void pack_fragments8(const PackJob& job, int64_t column, int64_t slot, int lane, uint32_t* unit) {
  constexpr int kSlots = 16;
  const int t = lane % 4;
  unit[lane] = metadata_of(job, column + t % 2 * 8, slot + t / 2 * kSlots, 8);
  for (int i = 0; i < 4; ++i) {
    uint32_t word = 0;
    for (int j = 0; j < 4; ++j) {
      const int64_t own = slot + i / 2 * kSlots + 4 * t + j;
      word |= kept_at(job, column + i % 2 * 8, own).bits << 8 * j;
    }
    unit[kMetadataBytes / 4 + lane * 4 + i] = word;
  }
}

GATUN_KERNEL(kThreads, 2) pack_units(const PackJob job) {
  const Form& f = job.form;
  const int64_t count = f.strips * f.units * 32;
  for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += blocks_x() * kThreads) {
    const int lane = static_cast<int>(i % 32);
    uint8_t* const unit = job.packed + f.units_at + i / 32 * f.unit_bytes;
    const int64_t column = i / 32 / f.units * kStripColumns, slot = i / 32 % f.units * 2 * f.list_slots;
    if (f.order == Order::fragments16) {
      pack_fragments16(job, column + lane / 4, slot, lane, reinterpret_cast<uint32_t*>(unit));
    } else if (f.order == Order::fragments8) {
      pack_fragments8(job, column + lane / 4, slot, lane, reinterpret_cast<uint32_t*>(unit));
    } else {
      pack_list(job, column + lane % kStripColumns, slot + lane / kStripColumns * f.list_slots,
                reinterpret_cast<uint32_t*>(unit) + lane, unit + kMetadataBytes + lane * f.list_bytes());
    }
  }
}

GATUN_KERNEL(kThreads, 2) pack_scales(const PackJob job) {
  const Form& f = job.form;
  const int64_t first = block_x() * kThreads + thread_index(), all = blocks_x() * kThreads;
  for (int64_t i = first; i < f.groups * f.padded_columns(); i += all) {
    const int64_t g = i / f.padded_columns(), n = i % f.padded_columns();
    const bool inside = n < f.columns;
    const int64_t from = n * f.groups + g;
    uint32_t scale = inside ? as_bits(1.0f) : 0;
    if (inside && f.scaled) scale = qmatmul::load_scale(job.scales, f.scale_dtype, from);
    if (f.scale_dtype == GATUN_F32) {
      reinterpret_cast<uint32_t*>(job.packed + f.scales_at)[i] = scale;
    } else {
      reinterpret_cast<uint16_t*>(job.packed + f.scales_at)[i] = static_cast<uint16_t>(scale);
    }
    const uint8_t zero = inside && f.zero_points ? job.zero_points[from] : uint8_t{0};
    if (f.zero_points) job.packed[f.zeros_at + i] = zero & 15;
    if (zero > 15 || !qmatmul::is_finite(qmatmul::scale_value(scale, f.scale_dtype))) report(&job.faults->block, from);
  }
  if (first == 0) *reinterpret_cast<Header*>(job.packed) = job.header;
}

GATUN_DEVICE bool is_number(int32_t dtype, uint32_t bits) {
  if (dtype == GATUN_F32) return qmatmul::is_finite(as_float(bits));
  if (dtype == GATUN_F16) return (bits & 0x7c00) != 0x7c00;
  return dtype != GATUN_BF16 || (bits & 0x7f80) != 0x7f80;
}

GATUN_KERNEL(kThreads, 2) find_faults(const PackJob job) {
  const Form& f = job.form;
  const int64_t count = f.columns * f.slots;
  for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += blocks_x() * kThreads) {
    const int64_t column = i / f.slots, slot = i % f.slots;
    if (!is_number(f.value_dtype, value_at(job, column, slot))) report(&job.faults->value, i);
    if (column % f.vector != 0) continue;
    const int64_t row = column / f.vector;
    const int index = index_at(job, row, slot), before = slot % f.n == 0 ? -1 : index_at(job, row, slot - 1);
    if (index >= f.m || index <= before) report(&job.faults->index, row * f.slots + slot);
  }
}

}  // namespace

int32_t run_pack(const PackJob& job, void* stream) {
  const Form& f = job.form;
  if (f.units > 0 && f.strips > 0) {
    int32_t status = launch("nm_pack_units", pack_units, grid_for(f.strips * f.units * 32), stream, job);
    if (status == 0) status = launch("nm_find_faults", find_faults, grid_for(f.columns * f.slots), stream, job);
    if (status != 0) return status;
  }
  const int64_t scales = f.groups * f.padded_columns();
  return launch("nm_pack_scales", pack_scales, grid_for(scales > 0 ? scales : 1), stream, job);  // and the header
}

}  // namespace gatun::cuda::nm_matmul
