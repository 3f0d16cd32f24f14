// Quantize and dequantize on any device: one thread, one chunk of 16 values; job.h has the picture.
//
//   scale[b] = made of the extremes of block b,   codes[r][k] = code of x[r][k] by scale[b]
//   x[r][k] = value of codes[r][k] by scale[b]
//
// Operands: x, codes, scales and zero points as the caller has them; nothing is packed.
//
// Budget, on an H200: 4.3 TB/s over 132 multiprocessors of 1.7 GHz are 19 bytes a cycle each, of 128 lanes that begin
// an instruction. So there is time for, per value,
//
//   f32 -> 8 bits: 5 bytes, 33 instructions     16 bits -> 8 bits: 3 bytes, 20      16 bits -> 4 bits: 2.5 bytes, 16
//
// if nothing else limits. Of the PTX, not yet measured: a value takes 2 instructions for its extremes (NaN stays NaN),
// 1 or 2 from 16 bits to f32, and to encode about 5 (linear), 9 (small floats) or 11 and 2 look-ups (code books). To
// that comes what a chunk takes, about 160 for places, the scale and exchanges between lanes, a 16th of it for each
// value: 18 to 24 in all. So f32 is bound by memory; 16 bits to 8 bits is at the limit, and to 4 bits bound by
// instructions, at 60 to 70 % of the bandwidth by this count. Larger chunks would help there.
//
// Both ways a chunk of x is four (f32) or two (16 bits) accesses of 16 bytes a lane, codes are one of 16, 8, 4 or three
// of 4 bytes. All of a chunk's are under way before the first is used, 32 or 64 KiB on a multiprocessor of 1024
// threads; asking for the next chunk beforehand takes more registers than there are.
//
// Tails: a chunk that is shorter is the same chunk with values that repeat the first one, of which codes are not
// stored.
//
// Rounding other than to nearest, and chunks of two groups, go value by value through one loop, which is the least code
// and the fewest registers: about 50 instructions a value, so they are bound by instructions, at half the bandwidth.
//
// Overflow: steps are clamped as floats before they become integers.
//
// Bound: none; codes, scales and zero points are those of the CPU, bit for bit, and values but for the bits of NaN.
#pragma once

#include <cstdint>

#include "ptx/launch.h"
#include "quantize/linear.h"
#include "quantize/team.h"
#include "quantize/threshold.h"

namespace gatun::cuda::quantize {

// The scale of a unit, which is a block, made by its team; where a value is not finite, any.
GATUN_DEVICE Scale scale_of_team(const Job& job, Team& team, int member, const Place& at, const Extremes& own,
                                 const float (&x)[kChunk]) {
  const Extremes found = team.extremes(own);
  float extreme = found.high > -found.low ? found.high : found.low;
  if (job.maker.make == Make::extreme && team.any(found.tied())) {
    const float most = found.magnitude();
    const uint64_t first = team.least(first_of(most, member, at, x));
    if (found.tied()) extreme = extreme_of(most, first);
  }
  const Scale scale = make_scale(job, found, extreme);
  if (member == 0 && at.count > 0) {
    store_scale(job, at.block, scale);
    if (found.finite() && !is_finite(scale.value)) report_block(job, at.block);
  }
  return scale;
}

// A known scale; of those that the caller gave a bad one is reported.
GATUN_DEVICE Scale known_scale(const Job& job, int64_t block) {
  const Scale scale = load_scale(job, block);
  if (job.given && !(is_finite(scale.value) && is_finite(scale.offset))) report_block(job, block);
  return scale;
}

// The codes of a chunk one by one: where they are not the nearest, or values from `at.split` on have the scale of the
// next block. `element` is the number of the first value. Values are read again, from the L1 cache, since a loop cannot
// name those that are in registers. Codes say:
//   nearest(coding, values)             those of a chunk
//   above(coding, value, threshold)     the upper of the two codes next to a value, if its distance to the lower one in
//                                       parts of theirs is above the threshold
template <class X, class Codes>
GATUN_DEVICE typename Codes::Packed encode_each(const Job& job, const Codes& codes, const Place& at, const Scale& scale,
                                                int64_t element) {
  const auto* x = static_cast<const typename X::Stored*>(job.x) + at.x;
  typename Codes::Packed packed = {};
  auto coding = Codes::coding(job, scale);
  Thresholds thresholds(job, element);
#pragma unroll 1
  for (int i = 0; i < kChunk; ++i, x += job.x_column_stride) {
    uint32_t code = 0;
    if (i < at.count) {
      if (i == at.split) coding = Codes::coding(job, known_scale(job, at.block + 1));
      const float value = X::value(*x);
      if (job.rounding == GATUN_ROUND_NEAREST) {
        const float values[kChunk] = {value};
        code = codes.nearest(coding, values).get(0);  // of which the compiler leaves what makes this one
      } else {
        code = codes.above(coding, value, thresholds.next());
      }
    }
    packed.push(code);
  }
  return packed;
}

template <class X, class Codes>
GATUN_KERNEL(kMostThreads, kLargestBlocks)
quantize_chunks(GATUN_GRID_CONSTANT Job job, GATUN_GRID_CONSTANT typename Codes::Tables tables) {
  const Codes codes(tables);
  Walker walker(job, Codes::kBits);
  Team team(job.walk);
  for (int32_t step = 0; step < job.walk.steps; ++step, walker.advance()) {
    const Place at = walker.place();
    Words<X> words;
    words.load(job, at);
    float x[kChunk];
    X::widen(words.word, x);

    const Extremes own = Extremes::of(x, at.count);
    if (!own.finite()) report_value(job, walker.element(), at.count, x);
    Scale scale;
    if (job.make) {
      scale = scale_of_team(job, team, walker.member(), at, own, x);
    } else if (at.count > 0) {
      scale = known_scale(job, at.block);
    }
    if (!job.encode || at.count == 0) continue;
    if (job.rounding == GATUN_ROUND_NEAREST && at.split >= at.count) {
      codes.nearest(Codes::coding(job, scale), x).store(job, at);
    } else {
      encode_each<X>(job, codes, at, scale, walker.element()).store(job, at);
    }
  }
}

template <class X, class Codes>
GATUN_KERNEL(kMostThreads, kLargestBlocks)
dequantize_chunks(GATUN_GRID_CONSTANT Job job, GATUN_GRID_CONSTANT typename Codes::Tables tables) {
  const Codes codes(tables);
  Walker walker(job, Codes::kBits);
  for (int32_t step = 0; step < job.walk.steps; ++step, walker.advance()) {
    const Place at = walker.place();
    typename Codes::Packed packed;
    packed.load(job, at);
    float x[kChunk] = {};
    if (at.count > 0) {
      const auto decoding = Codes::decoding(job, load_scale(job, at.block));
#pragma unroll
      for (int i = 0; i < kChunk; ++i) x[i] = codes.value(decoding, packed, i);
    }
    if (at.split < at.count) {
      const auto decoding = Codes::decoding(job, load_scale(job, at.block + 1));
#pragma unroll
      for (int i = 0; i < kChunk; ++i) x[i] = i < at.split ? x[i] : codes.value(decoding, packed, i);
    }
    Words<X> words;
    X::narrow(x, words.word);
    words.store(job, at);
  }
}

template <class X, class Codes>
int32_t launch_quantize(const char* name, const Job& job, const gatun::quantize::Book* book, const Grid& grid,
                        void* stream) {
  return launch(name, quantize_chunks<X, Codes>, grid, stream, job, Codes::Tables::of(book, false));
}
template <class X, class Codes>
int32_t launch_dequantize(const char* name, const Job& job, const gatun::quantize::Book* book, const Grid& grid,
                          void* stream) {
  return launch(name, dequantize_chunks<X, Codes>, grid, stream, job, Codes::Tables::of(book, true));
}

}  // namespace gatun::cuda::quantize
