// tiles.h for rows of up to 128 channels.
#include "decode/select.h"
#include "decode/tiles.h"

namespace gatun::cuda::decode {

int32_t run_decode_tiles_m16n128_sm80(const Job& job, void* stream) {
  return tiles::run<128>(job, "decode_tiles_m16n128_sm80", stream);
}

}  // namespace gatun::cuda::decode
