// Indices of code books as codes: a value v becomes the number of thresholds below it. native/src/quantize/books.h has
// the search: a look-up in a table of cells says where to start, and a binary search over fewer than 2^steps
// thresholds, usually 1, says the rest.
//
// Tables are in shared memory. Those of 16 values have a word in each of up to 32 banks, so that no two lanes wait for
// each other. Those of 256 values are there 32 times, once for each bank:
//
//   bank    0    1   ..   31
//   word p [ t_p  t_p  ..  t_p ]     lane l reads word 32 p + l
//
// 48 KiB, which many values must share: grids of these kernels have few thread blocks, each of which does many units.
#pragma once

#include <cstdint>
#include <cstring>

#include "quantize/books.h"
#include "quantize/linear.h"

namespace gatun::cuda::quantize {

// Of v from `low` in parts of the distance of `high`: 0 only if v is not above it.
GATUN_DEVICE float distance_of(float v, float low, float high) {
  return low < v ? max_number((v - low) / (high - low), as_float(1)) : 0;
}

// What the books of both sizes have alike; Book says where a search starts.
template <class Book, int kCodeBits>
struct BookCodes {
  static constexpr int kBits = kCodeBits, kValues = 1 << kBits;
  using Packed = CodeWords<kBits>;

  struct Coding {
    float inverse;
  };
  static GATUN_DEVICE Coding coding(const Job& job, const Scale& scale) { return {inverse_of(job, scale)}; }

  GATUN_DEVICE Packed nearest(const Coding& c, const float (&x)[kChunk]) const {
    Packed codes;
#pragma unroll
    for (int w = 0; w < Packed::kWords; ++w) codes.word[w] = 0;
#pragma unroll
    for (int i = 0; i < kChunk; ++i) codes.put(i, book().code_at(position(x[i] * c.inverse)));
    return codes;
  }

  // A block whose scale is 0 has the codes of 0.
  GATUN_DEVICE uint32_t above(const Coding& c, float x, float threshold) const {
    const int near = position(x * c.inverse);
    if (c.inverse == 0) return book().code_at(near);
    const float v = min_number(max_number(x * c.inverse, book().ascending(0)), book().ascending(kValues - 1));
    const int low = near - (v < book().ascending(near) ? 1 : 0);
    const int next = low + 1 < kValues ? low + 1 : low;
    const float distance = distance_of(v, book().ascending(low), book().ascending(next));
    return book().code_at(low + (threshold < distance ? 1 : 0));
  }

  struct Decoding {
    float scale;
  };
  static GATUN_DEVICE Decoding decoding(const Job&, const Scale& scale) { return {scale.value}; }
  GATUN_DEVICE float value(const Decoding& d, const Packed& codes, int i) const {
    return book().value_of(static_cast<int>(codes.get(i))) * d.scale;
  }

 private:
  GATUN_DEVICE const Book& book() const { return static_cast<const Book&>(*this); }

  // The number of thresholds below v.
  GATUN_DEVICE int position(float v) const {
    int position = book().start(v);
    for (int step = book().first_step(); step > 0; step /= 2) {
      position += book().threshold(position + step - 1) < v ? step : 0;
    }
    return position;
  }
};

struct Tables4 {
  float thresholds[16], ascending[16], values[16];
  float starts[32];
  uint32_t codes[2];  // by position, 4 bits each
  float slope, offset;
  int32_t first_step;

  static Tables4 of(const gatun::quantize::Book* book, bool) {
    Tables4 tables = {};
    std::memcpy(tables.thresholds, book->thresholds, sizeof(tables.thresholds));
    std::memcpy(tables.ascending, book->ascending, sizeof(tables.ascending));
    std::memcpy(tables.values, book->values, sizeof(tables.values));
    std::memcpy(tables.starts, book->starts_of_16, sizeof(tables.starts));
    for (uint32_t p = 0; p < 16; ++p) tables.codes[p / 8] |= uint32_t{book->codes[p]} << 4 * (p % 8);
    tables.slope = book->cells.slope;
    tables.offset = book->cells.offset;
    tables.first_step = 1 << book->steps >> 1;
    return tables;
  }
};

class Book4 : public BookCodes<Book4, 4> {
 public:
  using Tables = Tables4;
  static constexpr int kTableBytes = 80 * 4;

  explicit GATUN_DEVICE Book4(const Tables& tables)
      : tables_(tables), words_(reinterpret_cast<float*>(shared_memory() + kExchangeBytes)) {
    for (int i = thread_index(); i < 80; i += thread_count()) {
      words_[i] = i < 16   ? tables.thresholds[i]
                  : i < 32 ? tables.ascending[i - 16]
                  : i < 48 ? tables.values[i - 32]
                           : tables.starts[i - 48];
    }
    block_barrier();
  }

  // Even cells, 0..31, of which one has the number of thresholds below it.
  GATUN_DEVICE int start(float v) const {
    const float cell = min_number(max_number(fused(v, tables_.slope, tables_.offset), 0), 31);
    const float rounded = cell + as_float(0x4b000000);  // 2^23: the last bits are the cell
    return static_cast<int>(as_bits(words_[48 + (as_bits(rounded) & 31)]));
  }
  GATUN_DEVICE int first_step() const { return tables_.first_step; }
  GATUN_DEVICE float threshold(int p) const { return words_[p]; }
  GATUN_DEVICE float ascending(int p) const { return words_[16 + p]; }
  GATUN_DEVICE float value_of(int code) const { return words_[32 + code]; }
  GATUN_DEVICE uint32_t code_at(int p) const {
    return (p < 8 ? tables_.codes[0] : tables_.codes[1]) >> 4 * (p & 7) & 15;
  }

 private:
  const Tables& tables_;
  float* const words_;
};

struct Tables8 {
  float looked_up[256];  // thresholds, or to dequantize values
  float ascending[256];
  uint32_t starts[128];  // bytes, for values without and with a sign bit
  int32_t most;
  float power, shift, slope, offset;
  int32_t first_step;

  static Tables8 of(const gatun::quantize::Book* book, bool dequantize) {
    Tables8 tables = {};
    std::memcpy(tables.looked_up, dequantize ? book->values : book->thresholds, sizeof(tables.looked_up));
    std::memcpy(tables.ascending, book->ascending, sizeof(tables.ascending));
    std::memcpy(tables.starts, book->starts, sizeof(tables.starts));
    tables.most = book->cells.most;
    tables.power = book->cells.power;
    tables.shift = book->cells.shift;
    tables.slope = book->cells.slope;
    tables.offset = book->cells.offset;
    tables.first_step = 1 << book->steps >> 1;
    return tables;
  }
};

class Book8 : public BookCodes<Book8, 8> {
 public:
  using Tables = Tables8;
  static constexpr int kTableBytes = (256 + 128) * 128 + 256 * 4;

  explicit GATUN_DEVICE Book8(const Tables& tables)
      : tables_(tables), words_(reinterpret_cast<uint32_t*>(shared_memory() + kExchangeBytes)) {
    for (int i = thread_index(); i < 384 * 32; i += thread_count()) {
      const int p = i / 32;
      words_[i] = p < 256 ? as_bits(tables.looked_up[p]) : tables.starts[p - 256];
    }
    for (int i = thread_index(); i < 256; i += thread_count()) words_[384 * 32 + i] = as_bits(tables.ascending[i]);
    block_barrier();
  }

  // As in Cells of books.h.
  GATUN_DEVICE int start(float v) const {
    const int32_t bits = static_cast<int32_t>(as_bits(v) & 0x7fffffff);
    const int32_t magnitude = bits < tables_.most ? bits : tables_.most;
    const int32_t curved = round_to_i32(fused(static_cast<float>(magnitude), tables_.power, tables_.shift));
    const float y = as_float(static_cast<uint32_t>(curved));
    const float cell = min_number(max_number(fused(y, tables_.slope, tables_.offset), 0), 255);
    const int entry = static_cast<int>((as_bits(cell + as_float(0x4b000000)) & 255) | as_bits(v) >> 31 << 8);
    return static_cast<int>(words_[(256 + entry / 4) * 32 + lane()] >> 8 * (entry % 4) & 255);
  }
  GATUN_DEVICE int first_step() const { return tables_.first_step; }
  GATUN_DEVICE float threshold(int p) const { return as_float(words_[p * 32 + lane()]); }
  GATUN_DEVICE float ascending(int p) const { return as_float(words_[384 * 32 + p]); }
  GATUN_DEVICE float value_of(int code) const { return threshold(code); }
  GATUN_DEVICE uint32_t code_at(int p) const { return static_cast<uint32_t>(p); }

 private:
  const Tables& tables_;
  uint32_t* const words_;
};

}  // namespace gatun::cuda::quantize
