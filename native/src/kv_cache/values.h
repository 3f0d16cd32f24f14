// Rows of values of one dtype to another.
#pragma once

#include <cstring>

#include "base/dtype.h"
#include "kv_cache/table.h"

namespace gatun::kv_cache {

class Conversion {
 public:
  Conversion(Tier limit, int32_t from, int32_t to) : from_(from) {
    if (from != to && from != GATUN_F32) widen_ = table().select(from, from, limit).kernel->widen;
    if (from != to && to != GATUN_F32) narrow_ = table().select(to, to, limit).kernel->narrow;
  }

  // `count` values, at most 256. The same dtype is a copy of the bits.
  void operator()(const void* from, void* to, int64_t count) const {
    float row[256];
    if (widen_ == nullptr && narrow_ == nullptr) {
      std::memcpy(to, from, static_cast<size_t>(dtype_bytes(from_, count)));
    } else if (narrow_ == nullptr) {
      widen_(from, static_cast<float*>(to), count);
    } else if (widen_ == nullptr) {
      narrow_(static_cast<const float*>(from), to, count);
    } else {
      widen_(from, row, count);
      narrow_(row, to, count);
    }
  }

 private:
  int32_t from_;
  void (*widen_)(const void*, float*, int64_t) = nullptr;
  void (*narrow_)(const float*, void*, int64_t) = nullptr;
};

}  // namespace gatun::kv_cache
