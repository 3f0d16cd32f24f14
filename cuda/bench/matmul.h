// What benches of matrix products share: samples that results are checked on, and the same product by cuBLAS in bf16.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "session.h"

namespace gatun::bench {

// Some indices below `count`, the first and the last among them.
std::vector<int64_t> sample(int64_t count, int64_t most);

// Sampled rows of a matrix on the device, one after the other.
std::vector<uint8_t> rows_of(const Memory& matrix, int64_t row_bytes, const std::vector<int64_t>& rows);

// The rows and columns of y that are checked.
inline std::vector<int64_t> sampled_rows(int64_t rows) { return sample(rows, 4); }
inline std::vector<int64_t> sampled_columns(int64_t columns) { return sample(columns, 12); }

// ||y - expected|| / ||expected|| over sampled outputs of y [rows, columns] in bf16, which `expected` and `bounds`
// have row by row; nothing, said so, if one is off by more than its bound.
std::optional<double> error_of(const Memory& y, int64_t rows, int64_t columns, const std::vector<double>& expected,
                               const std::vector<double>& bounds);

// Weights in bf16, several times the cache.
std::vector<Memory> plain_weights(const Session& session, int64_t columns, int64_t depth);

// y [rows, columns] = x [rows, depth] * w [columns, depth]^T by cuBLAS.
class PlainProduct {
 public:
  PlainProduct(const Session& session, const std::vector<Memory>& weights, int64_t rows, int64_t columns,
               int64_t depth);

  const Memory& x() const { return x_; }
  // False if cuBLAS refuses; there must be one.
  bool run(int64_t turn);
  // After a run: its error against the weights; nothing if it is too large for sums in f32.
  std::optional<double> error() const;

 private:
  const Session& session_;
  const std::vector<Memory>& weights_;
  int64_t rows_, columns_, depth_;
  Memory x_, y_;
};

// What was measured of a product, and how it is shown.
struct MeasuredProduct {
  const char* op;
  std::string name, kernel;
  int64_t rows, columns, depth;
  int64_t packed_bytes;
  int64_t turns;  // copies of the packed weights
  double error;
  Call run;
};

// Times ours and cuBLAS' side by side, and adds the records. The record of ours, and the seconds of both, cuBLAS' being
// 0 if there is none.
struct Compared {
  Record ours;
  double seconds, cublas_seconds;
};
Compared compare_with_cublas(Session& session, const MeasuredProduct& product, PlainProduct& plain,
                             int64_t plain_turns);

// Adds PyTorch's answer to a request; its seconds, or 0.
double compare_with_torch(Session& session, const char* op, const std::string& name, const std::string& request,
                          double cublas_seconds);

}  // namespace gatun::bench
