// Rows of the tables of keys and values.
#pragma once

#include "decode/kernel.h"

namespace gatun::GATUN_ISA {
namespace {

template <class Keys>
constexpr decode::KeyKernel key_kernel(const char* products) {
  return {products, (int64_t{sizeof(typename Keys::Query)} + 63) / 64 * 64, Keys::prepare, Keys::multiply};
}

template <class Values>
constexpr decode::ValueKernel value_kernel(const char* products) {
  return {products, Values::multiply, Values::position_of};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
