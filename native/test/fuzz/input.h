// From the fuzzer's bytes to arguments, and exactly sized buffers around which AddressSanitizer watches.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "rng.h"

namespace gatun::fuzz {

// Prints, printf-like, what is wrong, and stops the fuzzer.
[[noreturn]] __attribute__((format(printf, 1, 2))) void defect(const char* format, ...);

// Work of a call and memory of a buffer that the fuzzer can afford.
inline constexpr int64_t kMaxBytes = 1 << 20;

// How the bytes of a valid call must be: too many to exist (then the call has to refuse), too many to try, or fine.
inline constexpr int64_t kImpossible = -1;
inline constexpr int64_t kUnaffordable = -2;
int64_t extent(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride, int64_t element_bytes);

class Input {
 public:
  Input(const uint8_t* data, size_t size) : bytes_(data, size) {}

  bool rarely() { return bytes_.ConsumeIntegralInRange(0, 15) == 15; }
  int64_t range(int64_t low, int64_t high) { return bytes_.ConsumeIntegralInRange(low, high); }
  // Mostly small, sometimes around tiles and vectors, rarely any number at all.
  int64_t size();
  // Mostly one of the good values, rarely any number at all.
  int32_t choice(std::initializer_list<int32_t> good);
  // sizeof the struct, but rarely.
  uint32_t struct_size(size_t right) {
    return rarely() ? bytes_.ConsumeIntegral<uint32_t>() : static_cast<uint32_t>(right);
  }
  // A stride for `columns`: mostly exact, else some larger, rarely any number at all.
  int64_t stride(int64_t columns);
  int64_t group(int64_t depth);
  // A generator for the contents of buffers.
  test::Rng rng() { return test::Rng(bytes_.ConsumeIntegral<uint64_t>()); }

 private:
  FuzzedDataProvider bytes_;
};

// What kind of floats a buffer holds.
enum class Values { normal, small_integers, subnormal, special_finite, special, kMaxValue = special };
inline Values values(Input& input) {
  return static_cast<Values>(input.range(0, static_cast<int64_t>(Values::kMaxValue)));
}
// Values for which f32 arithmetic stays far from overflow and underflow.
inline bool moderate(Values values) { return values == Values::normal || values == Values::small_integers; }

// Heap memory of exactly `bytes` bytes. Negative sizes (kImpossible) give one byte that nobody may touch.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t bytes);

  // Makes the pointer null, or one that is not aligned to its element; rarely.
  void spoil(Input& input);
  bool is_null() const { return at_ == nullptr; }
  bool misaligned() const { return offset_ != 0; }

  uint8_t* data() { return at_; }
  const uint8_t* data() const { return at_; }
  int64_t bytes() const { return bytes_; }
  void fill_floats(test::Rng& rng, int32_t dtype, Values values, float scale = 1.0f);
  void fill_integers(test::Rng& rng, int64_t low, int64_t high);
  std::vector<uint8_t> copy() const;

 private:
  int64_t bytes_ = 0;
  int64_t offset_ = 0;
  std::unique_ptr<uint8_t[]> memory_;
  uint8_t* at_ = nullptr;
};

// An element of F32, F16 or BF16, wherever it lies.
float float_at(const uint8_t* data, int32_t dtype, int64_t index);

// Accepted exactly when the header says so; a refusal comes with a message.
void check_status(int32_t status, bool documented_valid, const char* call);

void fuzz_quantize(Input& input);
void fuzz_dequantize(Input& input);
void fuzz_gguf_quantize(Input& input);
void fuzz_gguf_dequantize(Input& input);
void fuzz_pack(Input& input);
void fuzz_qmatmul(Input& input);
void fuzz_nm_matmul(Input& input);
void fuzz_stack(Input& input);
void fuzz_nm_format(Input& input);
void fuzz_nm_prune(Input& input);
void fuzz_norm(Input& input);
void fuzz_optimizer(Input& input);
void fuzz_gradient_norm(Input& input);
void fuzz_calibrate(Input& input);
void fuzz_requantize(Input& input);
void fuzz_packing(Input& input);
void fuzz_prune(Input& input);
void fuzz_regrow(Input& input);
void fuzz_mask(Input& input);
void fuzz_observe(Input& input);
void fuzz_nm_backward(Input& input);
void fuzz_armor_fit(Input& input);
void fuzz_armor_matmul(Input& input);
void fuzz_attention_select(Input& input);
void fuzz_attention_lsh(Input& input);
void fuzz_attention(Input& input);
void fuzz_block_mask(Input& input);
void fuzz_attention_merge(Input& input);
void fuzz_kv_cache_rows(Input& input);
void fuzz_kv_cache_move(Input& input);
void fuzz_decode(Input& input);
void fuzz_decode_scores(Input& input);
void fuzz_decode_choose(Input& input);

}  // namespace gatun::fuzz
