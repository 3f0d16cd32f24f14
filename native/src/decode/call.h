// What gatun_decode was asked for, read once. Plain data only: ISA units include this file.
#pragma once

#include "gatun/decode.h"

namespace gatun::decode {

struct Call {
  gatun_decode_params p;
  gatun_kv_layout k, v;  // v is all zeros without has_v
  bool has_v;
};

}  // namespace gatun::decode
