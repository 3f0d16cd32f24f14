// libFuzzer over the C interface. The bytes choose an op and all of its arguments, good and bad; buffers are exactly as
// large as the header asks. A call must be accepted exactly when the header allows it, and then be right: equal to the
// op's reference within the bound of its tests. A refused call must have written nothing.
#include "input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gatun::fuzz;
  Input input(data, size);
  switch (input.range(0, 41)) {
    case 0:
      fuzz_quantize(input);
      break;
    case 1:
      fuzz_dequantize(input);
      break;
    case 2:
      fuzz_pack(input);
      break;
    case 3:
      fuzz_norm(input);
      break;
    case 4:
      fuzz_packing(input);
      break;
    case 5:
    case 6:
      fuzz_stack(input);
      break;
    case 7:
      fuzz_gguf_quantize(input);
      break;
    case 8:
      fuzz_gguf_dequantize(input);
      break;
    case 9:
      fuzz_calibrate(input);
      break;
    case 10:
      fuzz_requantize(input);
      break;
    case 11:
    case 12:
      fuzz_optimizer(input);
      break;
    case 13:
      fuzz_gradient_norm(input);
      break;
    case 14:
      fuzz_prune(input);
      break;
    case 15:
      fuzz_regrow(input);
      break;
    case 16:
      fuzz_mask(input);
      break;
    case 17:
      fuzz_observe(input);
      break;
    case 18:
      fuzz_nm_format(input);
      break;
    case 19:
      fuzz_nm_prune(input);
      break;
    case 20:
    case 21:
      fuzz_nm_matmul(input);
      break;
    case 22:
      fuzz_nm_backward(input);
      break;
    case 23:
      fuzz_armor_fit(input);
      break;
    case 24:
      fuzz_armor_matmul(input);
      break;
    case 25:
    case 26:
      fuzz_attention_select(input);
      break;
    case 27:
      fuzz_attention_lsh(input);
      break;
    case 28:
    case 29:
    case 30:
      fuzz_attention(input);
      break;
    case 31:
      fuzz_block_mask(input);
      break;
    case 32:
      fuzz_attention_merge(input);
      break;
    case 33:
      fuzz_kv_cache_rows(input);
      break;
    case 34:
      fuzz_kv_cache_move(input);
      break;
    case 35:
      fuzz_decode_scores(input);
      break;
    case 36:
      fuzz_decode_choose(input);
      break;
    case 37:
    case 38:
    case 39:
      fuzz_decode(input);
      break;
    default:
      fuzz_qmatmul(input);
      break;
  }
  return 0;
}
