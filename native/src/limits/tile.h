// The loops of the limits: as plain as they can be, so that nothing but the memory or the instruction binds.
//
// Moves: w[0..][i] = sum_s r[s][i], block after block of all streams in ascending addresses, as hardware prefetchers
// expect. Without streams to write it is a read.
//
// Updates: w[s][i] = r[s][i] + 1 where w[s] is r[s], a round of stream after stream, each with its own share of a
// round: what an optimizer's step does to parameters, gradients and state.
//
// Tiles: sum[t][v] += x[t] * w[v], the register tile of a matrix multiplication. T x V sums are at least as many as
// twice an instruction's latency and leave registers for w and x: 6 x 4 of 32, 6 x 2 of 16. Operands are loaded anew
// each round (T + V loads beside T * V products, which leaves loads idle), or the compiler would take what does not
// change out of the loop: vpmaddubsw of an int8 dot without VNNI. Operands are 1: int32 sums grow by 4 a round and f32
// sums by 1 or 2, so they are exact up to 2^23 rounds.
#pragma once

#include "limits/kernel.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

template <bool kStream>
inline double move(const limits::Job& job) {
  constexpr int kVectors = 4;
  F32 total[kVectors];
  for (F32& part : total) part = zero_f32();
  for (int64_t i = 0; i < job.floats; i += kVectors * kLanes) {
    F32 sum[kVectors];
    for (F32& part : sum) part = zero_f32();
    for (int64_t s = 0; s < job.read_streams; ++s) {
      for (int v = 0; v < kVectors; ++v) sum[v] = add(sum[v], load_f32(job.read[s] + i + v * kLanes));
    }
    for (int64_t s = 0; s < job.write_streams; ++s) {
      for (int v = 0; v < kVectors; ++v) {
        float* to = job.write[s] + i + v * kLanes;
        kStream ? stream_f32(to, sum[v]) : store_f32(to, sum[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) total[v] = add(total[v], sum[v]);
  }
  if (kStream) fence_streams();
  return reduce_add(add(add(total[0], total[1]), add(total[2], total[3])));
}

inline double update(const limits::Job& job) {
  constexpr int kVectors = 4;
  const F32 one = set1(1.0f);
  F32 total[kVectors];
  for (F32& part : total) part = zero_f32();
  for (int64_t round = 0; round < job.rounds; ++round) {
    for (int64_t s = 0; s < job.read_streams; ++s) {
      const int64_t begin = round * job.round_floats[s];
      for (int64_t i = begin; i < begin + job.round_floats[s]; i += kVectors * kLanes) {
        F32 x[kVectors];
        for (int v = 0; v < kVectors; ++v) x[v] = load_f32(job.read[s] + i + v * kLanes);
        for (int v = 0; v < kVectors; ++v) total[v] = add(total[v], x[v]);
        if (s >= job.write_streams) continue;
        for (int v = 0; v < kVectors; ++v) store_f32(job.write[s] + i + v * kLanes, add(x[v], one));
      }
    }
  }
  return reduce_add(add(add(total[0], total[1]), add(total[2], total[3])));
}

inline constexpr int kTileVectors = kLanes == 16 ? 4 : 2;  // V

struct Fma {
  using Element = float;
  static constexpr int kProducts = 1;  // of a lane
  static constexpr int kRows = 6;      // T
  static GATUN_INLINE F32 zero() { return zero_f32(); }
  static GATUN_INLINE void store_ones(void* p) { store_f32(static_cast<float*>(p), set1(1.0f)); }
  static GATUN_INLINE F32 load(const uint8_t* p) { return load_f32(reinterpret_cast<const float*>(p)); }
  static GATUN_INLINE F32 broadcast(const uint8_t* p) { return set1(*reinterpret_cast<const float*>(p)); }
  static GATUN_INLINE F32 multiply_add(F32 sum, F32 w, F32 x) { return fma(w, x, sum); }
  static GATUN_INLINE void store(float* p, F32 sum) { store_f32(p, sum); }
};

// Operands of several elements a lane; kOnes is a lane of ones.
template <int32_t kOnes>
struct PackedOperands {
  static GATUN_INLINE void store_ones(void* p) { store_i32(static_cast<int32_t*>(p), set1_i32(kOnes)); }
  static GATUN_INLINE Bytes load(const uint8_t* p) { return load_bytes(p); }
  static GATUN_INLINE Bytes broadcast(const uint8_t* p) { return broadcast4(reinterpret_cast<const int8_t*>(p)); }
};

struct Int8Dot : PackedOperands<0x01010101> {
  using Element = int32_t;
  static constexpr int kProducts = 4;
  // Without an instruction of its own a dot needs two registers more, and sums wait for an addition only.
  static constexpr int kRows = kU8Bias != 0 && kLanes < 16 ? 3 : 6;
  static GATUN_INLINE I32 zero() { return zero_i32(); }
  static GATUN_INLINE I32 multiply_add(I32 sum, Bytes w, Bytes x) { return dot_u4(sum, w, x); }
  static GATUN_INLINE void store(int32_t* p, I32 sum) { store_i32(p, sum); }
};

#if defined(__AVX512BF16__)
struct Bf16Dot : PackedOperands<0x3f803f80> {
  using Element = float;
  static constexpr int kProducts = 2;
  static constexpr int kRows = 6;
  static GATUN_INLINE F32 zero() { return zero_f32(); }
  static GATUN_INLINE F32 multiply_add(F32 sum, Bytes w, Bytes x) { return dot_bf16(sum, w, x); }
  static GATUN_INLINE void store(float* p, F32 sum) { store_f32(p, sum); }
};
#endif

template <class Dot>
inline double multiply(const limits::Job& job) {
  constexpr int T = Dot::kRows, V = kTileVectors;
  constexpr int kVectorBytes = 4 * kLanes;
  static_assert(V * kVectorBytes <= limits::kOperandBytes && T * 4 <= limits::kOperandBytes);
  uint8_t* operands = static_cast<uint8_t*>(job.operands);
  for (int64_t i = 0; i < limits::kOperands * limits::kOperandBytes; i += kVectorBytes) Dot::store_ones(operands + i);

  decltype(Dot::zero()) sum[T][V];
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < V; ++v) sum[t][v] = Dot::zero();
  }
  for (int64_t round = 0; round < job.rounds; ++round) {
    const uint8_t* at = operands + round % limits::kOperands * limits::kOperandBytes;
    decltype(Dot::load(at)) w[V];
    for (int v = 0; v < V; ++v) w[v] = Dot::load(at + v * kVectorBytes);
    for (int t = 0; t < T; ++t) {
      const auto x = Dot::broadcast(at + 4 * t);
      for (int v = 0; v < V; ++v) sum[t][v] = Dot::multiply_add(sum[t][v], w[v], x);
    }
  }

  typename Dot::Element lanes[T * V * kLanes];
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < V; ++v) Dot::store(lanes + (t * V + v) * kLanes, sum[t][v]);
  }
  double total = 0;
  for (const auto lane : lanes) total += lane;
  return total;
}

// Rows of the table.
template <class Dot>
inline constexpr int64_t kRoundProducts = int64_t{Dot::kRows} * kTileVectors * kLanes * Dot::kProducts;
template <class Dot>
inline constexpr limits::Kernel kTile = {multiply<Dot>, kRoundProducts<Dot>};
template <bool kStream>
inline constexpr limits::Kernel kMove = {move<kStream>, 0};
inline constexpr limits::Kernel kUpdate = {update, 0};

}  // namespace gatun::GATUN_ISA
