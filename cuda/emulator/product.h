// Products of matrices as tensor cores make them: exact products, whose sum with d is rounded once from double where d
// is f32 (hardware keeps fewer bits of sums of e4m3), and wraps around where it is i32. A NaN is always 0x7fffffff.
#pragma once

#include <cstdint>

namespace gatun::emulator {

enum class Element { f16, bf16, i8, u8, e4m3 };

// What a lane brings to mma and mma.sp.
struct Fragments {
  const uint32_t* a;
  const uint32_t* b;
  void* d;
  uint32_t metadata;  // of mma.sp
};
void multiply(Element a, Element b, const Fragments* const* lanes);
// Of 16 bits the lanes with t / 2 == selector have the metadata, of 8 all.
void multiply_sparse(Element type, int selector, const Fragments* const* lanes);

// What a lane brings to wgmma and wgmma.sp.
struct GroupProduct {
  Element a_type, b_type;
  int n;
  const uint32_t* a;            // null: a is in shared memory
  uint64_t a_matrix, b_matrix;  // descriptors
  bool transposed_b, accumulate;
  void* d;
  const uint32_t* metadata;  // null: a is stored whole
  int selector;
};
// All lanes of a warp together; the product itself comes when it is waited for.
void issue_product(GroupProduct own);
// All of the group together.
void wait_for_products(int pending);

}  // namespace gatun::emulator
