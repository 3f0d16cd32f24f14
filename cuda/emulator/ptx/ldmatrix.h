// The twin of src/ptx/ldmatrix.h on the CPU.
#pragma once

#include <cstdint>
#include <cstring>

#include "ptx/thread.h"

namespace gatun::cuda {

namespace detail {

// What a lane brings to a move of 8 x 8 matrices between shared memory and registers.
struct MatrixRow {
  uint8_t* row;
  uint32_t* registers;
};

// Where half `i` of a lane's register lies in its matrix: the row, and the element there.
struct MatrixPlace {
  MatrixPlace(int lane, int i, bool transposed) : row(lane / 4), element(lane % 4 * 2 + i) {
    if (transposed) {
      row = lane % 4 * 2 + i;
      element = lane / 4;
    }
  }
  int row, element;
};

inline void move_matrices(const char* what, int count, bool transposed, bool store, MatrixRow own) {
  emulator::together(what, own, [=](MatrixRow* const* lanes) {
    for (int l = 0; l < 8 * count; ++l) emulator::block().shared_offset(what, lanes[l]->row, 16, 16);
    for (int matrix = 0; matrix < count; ++matrix) {
      for (int l = 0; l < 32; ++l) {
        uint8_t* const half = reinterpret_cast<uint8_t*>(lanes[l]->registers + matrix);
        for (int i = 0; i < 2; ++i) {
          const MatrixPlace place(l, i, transposed);
          uint8_t* const element = lanes[8 * matrix + place.row]->row + 2 * place.element;
          std::memcpy(store ? element : half + 2 * i, store ? half + 2 * i : element, 2);
        }
      }
    }
  });
}

inline void load_matrices(const char* what, int count, bool transposed, uint32_t* registers, const void* shared) {
  uint8_t* const row = static_cast<uint8_t*>(const_cast<void*>(shared));
  move_matrices(what, count, transposed, false, {row, registers});
}

}  // namespace detail

inline void load_matrix_x4(uint32_t (&r)[4], const void* shared) {
  detail::load_matrices("ldmatrix.x4", 4, false, r, shared);
}
inline void load_matrix_x2(uint32_t (&r)[2], const void* shared) {
  detail::load_matrices("ldmatrix.x2", 2, false, r, shared);
}
inline void load_matrix_x4_transposed(uint32_t (&r)[4], const void* shared) {
  detail::load_matrices("ldmatrix.x4.trans", 4, true, r, shared);
}
inline void load_matrix_x2_transposed(uint32_t (&r)[2], const void* shared) {
  detail::load_matrices("ldmatrix.x2.trans", 2, true, r, shared);
}

}  // namespace gatun::cuda
