// Quantize and dequantize, whatever the codes are: the walk over a matrix.
//
//   x row      [ block 0        | block 1        | .. | last, shorter ]    scan: extremes
//   scales row [ s0             | s1             | .. ]                    scales of a batch side by side
//   codes row  [ q0 q1 q2 ..                                          ]    codes, while x is in cache
//
// A Format (tile_linear.h, tile_scaled.h) says how extremes become scales, values codes, and codes values:
//
//   Codes                          how codes are stored (codes.h)
//   kSeek, Seek seek(job)          what is to be known of values: usually, and for this job
//   Blocks                         what it knows of the blocks of a batch, from Found
//   bool make_scales(job, batch, Blocks&)
//   bool rounds(blocks, block)     whether codes of a block depend on the rounding
//   Encoder(job)                   nearest(blocks, owners, x), above(blocks, owners, x, thresholds): bytes of codes;
//                                  usual(blocks, owners, x): nearest where what is sought is usual
//   Scales                         of a batch, to dequantize: read(job, batch)
//   Decoder(job)                   values(scales, owners, bytes of codes, x)
//
// One pass over memory, or two for blocks so large that all threads scan them first (quantize.cc). NaN and infinities
// show in the extremes (scan.h).
#pragma once

#include "quantize/scan.h"

namespace gatun::GATUN_ISA {
namespace {

// What a scan has found of the blocks of a batch.
struct Found {
  int32_t low[kRoom] = {}, high[kRoom] = {};  // as scan.h orders them
};

// The blocks that four vectors belong to.
struct Owners {
  int64_t block[4];

  // Of vectors `first` to `first` + 3 of a row of blocks of 2^shift vectors.
  static GATUN_INLINE Owners of(int64_t first, int shift) {
    return {{first >> shift, (first + 1) >> shift, (first + 2) >> shift, (first + 3) >> shift}};
  }
};

// count values of a block, from element k of a row on.
template <class Format>
__attribute__((noinline)) void encode_row(const Job& job, int64_t row, int64_t block, const float* x, int64_t k,
                                          int64_t count, const typename Format::Blocks& blocks,
                                          const typename Format::Encoder& encoder) {
  using Codes = typename Format::Codes;
  uint8_t* const codes = codes_row<Codes>(job, row);
  const Owners owners{{block, block, block, block}};
  if (job.rounding == GATUN_ROUND_NEAREST || !Format::rounds(blocks, block)) {
    encode_stretch<Codes>(x, count, codes, k, [&](const F32(&values)[4], int64_t, int64_t) GATUN_INLINE_LAMBDA {
      return encoder.nearest(blocks, owners, values);
    });
    return;
  }
  const Thresholds thresholds(job, row, k);
  encode_stretch<Codes>(x, count, codes, k, [&](const F32(&values)[4], int64_t i, int64_t some) GATUN_INLINE_LAMBDA {
    F32 least[4];
    for (int j = 0; j < 4; ++j) {
      least[j] = thresholds.at(i + j * kLanes, lanes_left(some - j * kLanes));
    }
    return encoder.above(blocks, owners, values, least);
  });
}

template <class Format>
bool quantize_stretches(const Job& job, int64_t begin, int64_t end) {
  const typename Format::Encoder encoder(job);
  typename Format::Blocks blocks;
  for (int64_t index = begin; index < end;) {
    const Batch batch = batch_at(job, index, end);
    index += units(batch);
    if (batch.count == 0) continue;
    if (!job.scanned) scan_batch(Format::seek(job), job, batch, blocks.low, blocks.high);
    if (!Format::make_scales(job, batch, blocks)) return false;
    for_each_stretch(job, batch, [&](int64_t row, int64_t block, const float* x, int64_t k, int64_t count) {
      encode_row<Format>(job, row, block, x, k, count, blocks, encoder);
    });
  }
  return true;
}

// To nearest, blocks of 2^shift vectors of f32: values of the batch to codes, while `scanner` goes on with the next
// one.
template <class Format, class Scanner>
GATUN_INLINE void encode_run(const Job& job, const Batch& batch, int shift, const typename Format::Blocks& blocks,
                             const typename Format::Encoder& encoder, Scanner& scanner) {
  using Codes = typename Format::Codes;
  constexpr int64_t kStep = 4 * kLanes, kStepBytes = kStep * Codes::kBits / 8;
  Scanner beside = scanner;  // a copy: what it has in registers stays there
  for (int64_t r = 0; r < batch.rows; ++r) {
    const float* x = x_at(job, batch.row + r, batch.begin);
    uint8_t* out = codes_row<Codes>(job, batch.row + r) + Period<Codes::kBits>::byte_of(batch.begin);
    const bool stream = job.stream && reinterpret_cast<uintptr_t>(out) % kStepBytes == 0;
    int64_t left = batch.count, vector = 0;
    for (; left >= kStep; left -= kStep, vector += 4, x += kStep, out += kStepBytes) {
      F32 values[4];
      for (int j = 0; j < 4; ++j) values[j] = load_f32(x + j * kLanes);
      const Bytes codes = encoder.usual(blocks, Owners::of(vector, shift), values);
      stream ? Codes::stream(out, codes) : Codes::store(out, codes);
      beside.step();
    }
    if (left > 0) {
      F32 values[4];
      for (int j = 0; j < 4; ++j) values[j] = load_f32_n(x + j * kLanes, lanes_left(left - j * kLanes));
      Codes::store_n(out, encoder.usual(blocks, Owners::of(vector, shift), values), static_cast<int>(left));
    }
  }
  scanner = beside;
}

template <class Format>
bool quantize_runs(const Job& job, int64_t begin, int64_t end, int shift) {
  constexpr Seek kSeek = Format::kSeek;
  const typename Format::Encoder encoder(job);
  typename Format::Blocks blocks;
  Extremes extremes;
  Scanner<kSeek> scanner(job, shift, extremes);
  Batch next = batch_at(job, begin, end);
  if (!job.scanned) scanner.start(next);
  while (begin < end) {
    const Batch batch = next;
    if (!job.scanned) {
      scanner.finish();
      extremes.fold<kSeek>(batch.groups, blocks.low, blocks.high);
    }
    begin += units(batch);
    const bool made = batch.count == 0 || Format::make_scales(job, batch, blocks);
    if (!made) return false;
    if (begin < end) {
      next = batch_at(job, begin, end);
      if (!job.scanned) scanner.start(next);
    }
    encode_run<Format>(job, batch, shift, blocks, encoder, scanner);
  }
  if (job.stream) fence_streams();
  return true;
}

template <class Format>
bool quantize_units(const Job& job, int64_t begin, int64_t end) {
  if (begin == end) return true;
  const int shift = block_shift(job);
  const bool side_by_side = job.x_dtype == GATUN_F32 && job.x_column_stride == 1 && shift >= 0;
  const bool usual = job.rounding == GATUN_ROUND_NEAREST && Format::seek(job) == Format::kSeek;
  return side_by_side && usual ? quantize_runs<Format>(job, begin, end, shift)
                               : quantize_stretches<Format>(job, begin, end);
}

// Codes of a row from element k on to count values x in f32, the first of them in block `block` of the batch.
template <class Format>
__attribute__((noinline)) void decode_row(const Job& job, const typename Format::Decoder& decoder,
                                          const typename Format::Scales& scales, int64_t row, int64_t k, int64_t count,
                                          int64_t block, int shift, bool stream, float* x) {
  using Codes = typename Format::Codes;
  const typename Format::Decoder own = decoder;  // a copy: what it has in registers stays there
  decode_stretch<Codes>(codes_row<Codes>(job, row), k, count, stream, x,
                        [&](const uint8_t* p, int64_t vector, F32(&out)[4]) GATUN_INLINE_LAMBDA {
                          Owners owners = Owners::of(vector, shift);
                          for (int64_t& owner : owners.block) owner += block;
                          own.values(scales, owners, p, out);
                        });
}

template <class X>
GATUN_INLINE void narrow_row(const float* from, int64_t count, void* x) {
  auto* to = static_cast<typename X::Type*>(x);
  for (int64_t i = 0; i < count; i += kLanes) {
    const int n = lanes_left(count - i);
    X::store_n(to + i, load_f32_n(from + i, n), n);
  }
}
__attribute__((noinline)) void write_chunk(const Job& job, const float* from, int64_t count, int64_t index) {
  auto* to = static_cast<uint16_t*>(job.x) + index;
  job.x_dtype == GATUN_F16 ? narrow_row<f16>(from, count, to) : narrow_row<bf16>(from, count, to);
}

template <class Format>
void dequantize_units(const Job& job, int64_t begin, int64_t end) {
  const typename Format::Decoder decoder(job);
  typename Format::Scales scales;
  const int shift = block_shift(job);
  float chunk[kChunk];
  for (int64_t index = begin; index < end;) {
    const Batch batch = batch_at(job, index, end);
    index += units(batch);
    if (batch.count == 0) continue;
    scales.read(job, batch);
    const int64_t step = shift >= 0 ? batch.count : job.group;
    for (int64_t done = 0, block = 0; done < batch.count; done += step, ++block) {
      const int64_t k = batch.begin + done, count = smaller(step, batch.count - done);
      if (job.x_dtype == GATUN_F32) {
        decode_row<Format>(job, decoder, scales, batch.row, k, count, block, shift >= 0 ? shift : kOneBlock, job.stream,
                           x_at(job, batch.row, k));
      } else {
        decode_row<Format>(job, decoder, scales, batch.row, k, count, block, shift >= 0 ? shift : kOneBlock, false,
                           chunk);
        write_chunk(job, chunk, count, batch.row * job.x_row_stride + k);
      }
    }
  }
  if (job.stream) fence_streams();
}

template <class Format>
quantize::Range scan_block(const Job& job, int64_t begin, int64_t end) {
  return scan_units(Format::seek(job), job, begin, end);
}

template <class Format>
bool make_block_scale(const Job& job, int64_t row, int64_t group, quantize::Range range) {
  const int64_t begin = group * job.group;
  typename Format::Blocks blocks;
  blocks.low[0] = range.low;
  blocks.high[0] = range.high;
  return Format::make_scales(
      job,
      {row, smaller(job.group_rows, job.rows - row), group, 1, begin, smaller(job.group, job.depth - begin), false},
      blocks);
}

template <class Format>
constexpr quantize::Kernel kernel_of() {
  return {quantize_units<Format>, dequantize_units<Format>, scan_block<Format>, make_block_scale<Format>};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
