// Left operands of sparse tiles: how a warp gets them from a stage in shared memory, and the products with them in
// sm80_sparse.h (sm90_sparse.cu has its own). A slice is 64 bytes of a row of x: b[0..3] are its quarters (mma_sp.h).
//
//   SparseHalves, SparseCodes, SparseBytes   2:4 as it is stored, or u4 codes as q - z in registers: a product a slice
//   Decoded                                  any N:M, as rows of 128 bytes with zeros that decode() has put into shared
//                                            memory: two dense products a slice
#pragma once

#include <cstdint>
#include <type_traits>

#include "nm_matmul/list.h"
#include "ptx/ldmatrix.h"
#include "ptx/mma_sp.h"
#include "qmatmul/tile_mma.h"

namespace gatun::cuda::nm_matmul {

inline constexpr int kRowBytes = 128;  // of x and of dense weights in a stage: two slices

// d += a b of 2:4 halves; the slice says which lanes have the metadata.
struct SparseFragment {
  uint32_t a[4], metadata;
};
template <bool kBf16>
GATUN_DEVICE void multiply_halves(float (&sum)[4], const SparseFragment& of, const uint32_t (&b)[4], int slice) {
  if constexpr (kBf16) {
    slice == 0 ? mma_sp_bf16<0>(sum, of.a, b, of.metadata) : mma_sp_bf16<1>(sum, of.a, b, of.metadata);
  } else {
    slice == 0 ? mma_sp_f16<0>(sum, of.a, b, of.metadata) : mma_sp_f16<1>(sum, of.a, b, of.metadata);
  }
}

GATUN_DEVICE uint32_t word_at(const uint8_t* from, int index) { return reinterpret_cast<const uint32_t*>(from)[index]; }
GATUN_DEVICE void load_words(const uint8_t* from, uint32_t (&to)[4]) {
  const Words4 words = reinterpret_cast<const Words4*>(from)[lane()];
#pragma unroll
  for (int i = 0; i < 4; ++i) to[i] = words.word[i];
}

// What every operand says: units of a strip in a stage, their bytes where they are known, depth of a slice.
struct OfHalves {
  static constexpr bool kHalves = true, kDecodes = false;
  static constexpr int kSliceDepth = 32, kUnits = 1;
  using Sum = float;
  using Fragment = SparseFragment;
};

template <bool kBf16>
struct SparseHalves : OfHalves {
  static constexpr bool kLowered = false;
  static constexpr int kUnitBytes = kMetadataBytes + 1024, kMostUnitBytes = kUnitBytes;

  GATUN_DEVICE explicit SparseHalves(const qmatmul::Job&) {}
  GATUN_DEVICE uint32_t lower(int, bool) const { return 0; }
  GATUN_DEVICE Fragment load(const uint8_t* unit, int slice, const uint32_t (&)[2]) const {
    Fragment of;
    of.metadata = word_at(unit, lane());
    load_words(unit + kMetadataBytes + slice * 512, of.a);
    return of;
  }
  GATUN_DEVICE static void multiply(Sum (&sum)[4], const Fragment& of, const uint32_t (&b)[4], int slice) {
    multiply_halves<kBf16>(sum, of, b, slice);
  }
};

template <bool kBf16>
struct SparseCodes : OfHalves {
  static constexpr bool kLowered = true;
  static constexpr int kUnitBytes = kMetadataBytes + 256, kMostUnitBytes = kUnitBytes;
  using Codes = qmatmul::Operand<qmatmul::Codes::u4, kBf16 ? Arithmetic::bf16 : Arithmetic::f16, 1>;

  GATUN_DEVICE explicit SparseCodes(const qmatmul::Job& job) : codes(job, nullptr) {}
  GATUN_DEVICE uint32_t lower(int zero, bool second) const { return codes.lower(zero, second); }
  GATUN_DEVICE Fragment load(const uint8_t* unit, int slice, const uint32_t (&lower)[2]) const {
    Fragment of;
    of.metadata = word_at(unit, lane());
    Words4 words = {};
    words.word[0] = word_at(unit + kMetadataBytes + slice * 128, lane());
    codes.left(words, 0, lower, of.a);
    return of;
  }
  GATUN_DEVICE static void multiply(Sum (&sum)[4], const Fragment& of, const uint32_t (&b)[4], int slice) {
    multiply_halves<kBf16>(sum, of, b, slice);
  }

  Codes codes;
};

struct SparseBytes {
  static constexpr bool kHalves = false, kDecodes = false, kLowered = false;
  static constexpr int kSliceDepth = 64, kUnits = 2;
  static constexpr int kUnitBytes = kMetadataBytes + 512, kMostUnitBytes = kUnitBytes;
  using Sum = int32_t;
  using Fragment = SparseFragment;

  GATUN_DEVICE explicit SparseBytes(const qmatmul::Job&) {}
  GATUN_DEVICE uint32_t lower(int, bool) const { return 0; }
  GATUN_DEVICE Fragment load(const uint8_t* units, int slice, const uint32_t (&)[2]) const {
    Fragment of;
    of.metadata = word_at(units + slice * kUnitBytes, lane());
    load_words(units + slice * kUnitBytes + kMetadataBytes, of.a);
    return of;
  }
  GATUN_DEVICE static void multiply(Sum (&sum)[4], const Fragment& of, const uint32_t (&b)[4], int) {
    mma_sp_i8(sum, of.a, b, of.metadata);
  }
};

template <Arithmetic kArithmetic>
struct Decoded {
  static constexpr bool kHalves = kArithmetic != Arithmetic::i8, kDecodes = true, kLowered = false;
  static constexpr int kSliceDepth = kHalves ? 32 : 64, kUnits = kHalves ? 1 : 2;
  static constexpr int kSegmentPieces = kHalves ? 4 : 2;  // of 16 bytes
  // Of lists that keep everything.
  static constexpr int kMostUnitBytes = kMetadataBytes + kListsOfUnit * kSegmentDepth * (kHalves ? 2 : 1);
  using Sum = std::conditional_t<kHalves, float, int32_t>;
  struct Fragment {
    uint32_t a[2][4];
  };

  GATUN_DEVICE explicit Decoded(const qmatmul::Job&) {}
  GATUN_DEVICE uint32_t lower(int, bool) const { return 0; }

  // Where a piece of a row of dense weights lies, so that ldmatrix meets no bank twice.
  GATUN_DEVICE static int place(int row, int piece) { return row * kRowBytes + (piece ^ row % 8) * 16; }

  // Segment `segment` of the stage, in the row `row` of the dense weights.
  GATUN_DEVICE static void decode(const List& list, int zero, uint8_t* dense, int row, int segment) {
#pragma unroll
    for (int i = 0; i < kSegmentPieces; ++i) {
      *reinterpret_cast<Words4*>(dense + place(row, segment * kSegmentPieces + i)) = Words4();
    }
    constexpr int kElement = kHalves ? 2 : 1, kInPiece = 16 / kElement;
    int slot = 0;
#pragma unroll 1
    for (uint32_t mask = list.mask(); mask != 0 && slot < list.slots(); mask &= mask - 1, ++slot) {
      const int position = lowest_bit(mask);
      uint8_t* const to =
          dense + place(row, segment * kSegmentPieces + position / kInPiece) + position % kInPiece * kElement;
      const uint32_t bits = list.bits(slot);
      if (!kHalves) {
        *to = static_cast<uint8_t>(list.code(bits, zero));
      } else if (list.is_half()) {
        *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(bits);
      } else {
        const float value = list.value(bits, zero);
        *reinterpret_cast<uint16_t*>(to) = kArithmetic == Arithmetic::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
      }
    }
  }

  // Of the 16 rows of dense weights from `dense` on.
  GATUN_DEVICE Fragment load(const uint8_t* dense, int slice, const uint32_t (&)[2]) const {
    Fragment of;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      load_matrix_x4(of.a[i], dense + place(lane() % 16, (slice * 2 + i) * 2 + lane() / 16));
    }
    return of;
  }
  GATUN_DEVICE static void multiply(Sum (&sum)[4], const Fragment& of, const uint32_t (&b)[4], int) {
    const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
    if constexpr (kArithmetic == Arithmetic::f16) {
      mma_f16(sum, of.a[0], first);
      mma_f16(sum, of.a[1], second);
    } else if constexpr (kArithmetic == Arithmetic::bf16) {
      mma_bf16(sum, of.a[0], first);
      mma_bf16(sum, of.a[1], second);
    } else {
      mma_i8(sum, of.a[0], first);
      mma_i8(sum, of.a[1], second);
    }
  }
};

}  // namespace gatun::cuda::nm_matmul
