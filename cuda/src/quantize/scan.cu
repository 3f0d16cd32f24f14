// Scales of blocks that are too large for one team: the extremes of parts of kPartChunks chunks each, then those of the
// parts. A part is found by one thread block, so that results depend on nothing but the shape.
//
//   chunks of a block, row by row of it   [ part 0 | part 1 | .. | last, shorter ]
//   chunks of a part                      thread t does t, t + kScanThreads, ..
//
// Budget: x is read once, 4 or 2 bytes a value; 2 instructions a value for the extremes and 1 from 16 bits to f32.
#include "gatun/types.h"
#include "ptx/launch.h"
#include "quantize/scale.h"
#include "quantize/team.h"

namespace gatun::cuda::quantize {

// Chunk `chunk` of a block, which ends before chunk `end`, and the number of its first element; nowhere beyond the
// last.
GATUN_DEVICE Place chunk_of_block(const Job& job, int64_t block, int64_t chunk, int64_t end, int64_t* element) {
  Place at = {0, 0, block, 0, kChunk};
  if (chunk >= end) return at;
  const int64_t row_of_blocks = quotient(block, job.groups), group = block - row_of_blocks * job.groups;
  const int64_t unit_row = job.group_rows == 1 ? 0 : quotient(chunk, job.walk.row_chunks);
  const int64_t begin = (chunk - unit_row * job.walk.row_chunks) * kChunk;
  const int64_t row = row_of_blocks * job.group_rows + unit_row, k = group * job.group + begin;
  const int64_t of_group = job.group - begin, of_row = job.depth - k;
  const int64_t left = of_group < of_row ? of_group : of_row;
  if (row >= job.rows || unit_row >= job.group_rows || left <= 0) return at;
  at.x = row * job.x_row_stride + k * job.x_column_stride;
  at.count = smaller(left, kChunk);
  *element = row * job.depth + k;
  return at;
}

template <class X>
GATUN_KERNEL(kScanThreads, 4)
scan_chunks(GATUN_GRID_CONSTANT Job job, Part* parts, int64_t parts_of_block) {
  const int64_t block = quotient(block_x(), parts_of_block), part = block_x() - block * parts_of_block;
  const int64_t first_chunk = part * kPartChunks + thread_index(), end = (part + 1) * kPartChunks;
  Team team(job.walk);
  Words<X> words;
  Extremes own = Extremes::none();
  int64_t element = 0;
  for (int64_t chunk = first_chunk; chunk < end; chunk += kScanThreads) {
    const Place at = chunk_of_block(job, block, chunk, end, &element);
    words.load(job, at);
    float x[kChunk];
    X::widen(words.word, x);
    const Extremes found = Extremes::of(x, at.count);
    if (!found.finite()) report_value(job, element, at.count, x);
    own = own.with(found);
  }
  const Extremes found = team.extremes(own);
  float extreme = found.high > -found.low ? found.high : found.low;
  if (job.maker.make == Make::extreme && found.tied()) {
    const float most = found.magnitude();
    uint64_t first = ~uint64_t{0};
    for (int64_t chunk = first_chunk; chunk < end; chunk += kScanThreads) {
      const Place at = chunk_of_block(job, block, chunk, end, &element);
      float x[kChunk];
      words.load(job, at);
      X::widen(words.word, x);
      const uint64_t here = first_of(most, chunk, at, x);
      first = here < first ? here : first;
    }
    extreme = extreme_of(most, team.least(first));
  }
  if (thread_index() == 0) parts[block_x()] = {found.low, found.high, extreme, 0};
}

// A block's parts in ascending order, cut evenly among threads.
GATUN_KERNEL(kScanThreads, 1)
merge_parts(GATUN_GRID_CONSTANT Job job, const Part* parts, int64_t parts_of_block) {
  const Part* const own_parts = parts + block_x() * parts_of_block;
  const int64_t share = (parts_of_block + kScanThreads - 1) / kScanThreads;
  const int64_t begin = share * thread_index(), end = begin + share < parts_of_block ? begin + share : parts_of_block;
  Team team(job.walk);
  Extremes own = Extremes::none();
  for (int64_t i = begin; i < end; ++i) own = own.with({own_parts[i].low, own_parts[i].high});
  const Extremes found = team.extremes(own);
  float extreme = 0;
  if (job.maker.make == Make::extreme) {
    const float most = found.magnitude();
    uint64_t first = ~uint64_t{0};
    for (int64_t i = end - 1; i >= begin; --i) {
      if (absolute(own_parts[i].extreme) == most) {
        first = static_cast<uint64_t>(i) << 1 | as_bits(own_parts[i].extreme) >> 31;
      }
    }
    extreme = extreme_of(most, team.least(first));
  }
  if (thread_index() != 0) return;
  const Scale scale = make_scale(job, found, extreme);
  store_scale(job, block_x(), scale);
  if (found.finite() && !is_finite(scale.value)) report_block(job, block_x());
}

int32_t scan_parts(const Job& job, int32_t x_dtype, Part* parts, int64_t parts_of_block, const Grid& grid,
                   void* stream) {
  const auto scan = [&](const char* name, auto kernel) {
    return launch(name, kernel, grid, stream, job, parts, parts_of_block);
  };
  if (x_dtype == GATUN_F32) return scan("quantize_f32_parts_sm80", scan_chunks<F32>);
  if (x_dtype == GATUN_F16) return scan("quantize_f16_parts_sm80", scan_chunks<F16>);
  return scan("quantize_bf16_parts_sm80", scan_chunks<BF16>);
}

int32_t make_scales(const Job& job, const Part* parts, int64_t parts_of_block, const Grid& grid, void* stream) {
  return launch("quantize_scales_sm80", merge_parts, grid, stream, job, parts, parts_of_block);
}

}  // namespace gatun::cuda::quantize
