#include "matmul.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/dtype.h"
#include "kernels.h"

namespace gatun::bench {
namespace {

Record record_of(const char* op, const std::string& name, const std::string& impl, const Summary& seconds) {
  Record record{op, name, impl, "time", "us", {}, {}, {}, {}, "", ""};
  record.value = {1e6 * seconds.median, 1e6 * seconds.min, 1e6 * seconds.max};
  return record;
}

// Of the limit that binds: bytes of weights and activations read and written, or products.
void limit(const Session& session, const MeasuredProduct& product, double weight_bytes, double seconds,
           Record* record) {
  const double rows = static_cast<double>(product.rows), columns = static_cast<double>(product.columns),
               depth = static_cast<double>(product.depth);
  const double memory = (weight_bytes + 2 * rows * (columns + depth)) / session.limits.read_bytes;
  const double products =
      session.limits.bf16_products > 0 ? 2 * rows * columns * depth / session.limits.bf16_products : 0;
  record->percent_of_limit = 100 * std::max(memory, products) / seconds;
  record->timed += memory >= products ? "; limit: reading memory" : "; limit: cuBLAS bf16 8192^3";
}

}  // namespace

std::vector<int64_t> sample(int64_t count, int64_t most) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < std::min(count, most); ++i)
    indices.push_back(i * (count - 1) / std::max<int64_t>(most - 1, 1));
  indices.back() = count - 1;
  return indices;
}

std::vector<uint8_t> rows_of(const Memory& matrix, int64_t row_bytes, const std::vector<int64_t>& rows) {
  std::vector<uint8_t> all;
  for (const int64_t row : rows) {
    const auto bytes = to_host<uint8_t>(matrix.at(row * row_bytes), row_bytes);
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  return all;
}

std::optional<double> error_of(const Memory& y, int64_t rows, int64_t columns, const std::vector<double>& expected,
                               const std::vector<double>& bounds) {
  double squares = 0, expected_squares = 0;
  size_t i = 0;
  for (const int64_t m : sampled_rows(rows)) {
    const auto outputs = to_host<uint16_t>(y.at(m * columns * 2), columns);
    for (const int64_t n : sampled_columns(columns)) {
      const double value = double{bf16_to_f32(outputs[static_cast<size_t>(n)])};
      if (!(std::fabs(value - expected[i]) <= bounds[i])) {
        std::printf("WRONG: y[%lld][%lld] = %g, expected %g +- %g\n", static_cast<long long>(m),
                    static_cast<long long>(n), value, expected[i], bounds[i]);
        return std::nullopt;
      }
      squares += (value - expected[i]) * (value - expected[i]);
      expected_squares += expected[i] * expected[i];
      ++i;
    }
  }
  return std::sqrt(squares / expected_squares);
}

std::vector<Memory> plain_weights(const Session& session, int64_t columns, int64_t depth) {
  const int64_t bytes = columns * depth * 2;
  // cuBLAS rotates through them; without it, they are only what other weights are made of.
  std::vector<Memory> plain;
  do {
    plain.emplace_back(bytes);
    must(fill(GATUN_BF16, columns * depth, 31, plain.back().get(), stream()), "fill");
  } while (session.cublas != nullptr && static_cast<int64_t>(plain.size()) < turns_for(bytes, session.device.l2_bytes));
  return plain;
}

PlainProduct::PlainProduct(const Session& session, const std::vector<Memory>& weights, int64_t rows, int64_t columns,
                           int64_t depth)
    : session_(session),
      weights_(weights),
      rows_(rows),
      columns_(columns),
      depth_(depth),
      x_(rows * depth * 2),
      y_(session.cublas == nullptr ? 0 : rows * columns * 2) {
  must(fill(GATUN_BF16, rows * depth, 23, x_.get(), stream()), "fill");
}

bool PlainProduct::run(int64_t turn) {
  return session_.cublas->multiply_bf16(x_.get(), weights_[static_cast<size_t>(turn)].get(), y_.get(), rows_, columns_,
                                        depth_);
}

std::optional<double> PlainProduct::error() const {
  double squares = 0, expected_squares = 0;
  for (const int64_t m : sampled_rows(rows_)) {
    const auto a = to_host<uint16_t>(x_.at(m * depth_ * 2), depth_);
    const auto outputs = to_host<uint16_t>(y_.at(m * columns_ * 2), columns_);
    for (const int64_t n : sampled_columns(columns_)) {
      const auto b = to_host<uint16_t>(weights_[0].at(n * depth_ * 2), depth_);
      double expected = 0;
      for (size_t k = 0; k < a.size(); ++k) expected += double{bf16_to_f32(a[k])} * double{bf16_to_f32(b[k])};
      const double value = double{bf16_to_f32(outputs[static_cast<size_t>(n)])};
      squares += (value - expected) * (value - expected);
      expected_squares += expected * expected;
    }
  }
  const double error = std::sqrt(squares / expected_squares);
  return error < 1e-2 ? std::optional<double>(error) : std::nullopt;
}

Compared compare_with_cublas(Session& session, const MeasuredProduct& product, PlainProduct& plain,
                             int64_t plain_turns) {
  std::vector<Contender> contenders = {{"gatun", product.kernel, "", product.turns, product.run}};
  std::optional<double> cublas_error;
  if (session.cublas != nullptr && plain.run(0)) cublas_error = plain.error();
  if (cublas_error) {
    contenders.push_back({"cuBLAS bf16", "cublasGemmEx", "", plain_turns, [&](int64_t turn) { plain.run(turn); }});
  } else if (session.cublas != nullptr) {
    std::printf("cuBLAS is wrong or refuses: %s\n", product.name.c_str());
  }
  const std::vector<Summary> seconds = time_side_by_side(contenders, session.effort);
  Compared compared = {record_of(product.op, product.name, "gatun", seconds[0]), seconds[0].median,
                       cublas_error ? seconds[1].median : 0};
  Record& ours = compared.ours;
  ours.kernel = product.kernel;
  ours.timed = "the call, with what it does to activations";
  ours.rel_error = product.error;
  limit(session, product, static_cast<double>(product.packed_bytes), seconds[0].median, &ours);
  if (cublas_error) ours.ratio_to_peer = seconds[1].median / seconds[0].median;
  session.records.add(ours);
  if (cublas_error) {
    Record theirs = record_of(product.op, product.name, "cuBLAS bf16", seconds[1]);
    theirs.kernel = "cublasGemmEx";
    theirs.timed = "the call";
    theirs.rel_error = cublas_error;
    limit(session, product, 2.0 * static_cast<double>(product.columns) * static_cast<double>(product.depth),
          seconds[1].median, &theirs);
    session.records.add(theirs);
  }
  return compared;
}

double compare_with_torch(Session& session, const char* op, const std::string& name, const std::string& request,
                          double cublas_seconds) {
  if (session.torch == nullptr) return 0;
  const auto time = session.torch->ask(request);
  if (!time) return 0;
  Record record = record_of(op, name, time->impl, time->seconds);
  record.timed = "the call";
  if (cublas_seconds > 0) record.ratio_to_peer = cublas_seconds / time->seconds.median;
  session.records.add(record);
  return time->seconds.median;
}

}  // namespace gatun::bench
