// What callers bring along must not matter: how many call at once, and the floating-point mode of their threads.
#include <gtest/gtest.h>

#include <atomic>
#include <cfenv>
#include <chrono>
#include <ctime>
#include <functional>
#include <thread>
#include <vector>

#include "gatun/armor.h"
#include "gatun/gatun.h"
#include "gatun/nm_matmul.h"
#include "gatun/norm.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

using Bytes = std::vector<uint8_t>;

// One problem for every op; each run returns all bytes of the outputs, or none if it failed.
class Problem {
 public:
  Problem() {
    weights_.columns = kColumns;
    weights_.depth = kDepth;
    Bytes codes(kColumns * kDepth / 2);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(rng_.integer(0, 255));
    const std::vector<float> scales = rng_.normals(kColumns * kGroups, 0.01f);
    int64_t bytes = 0;
    EXPECT_EQ(gatun_qmatmul_packed_bytes(&weights_, &bytes), GATUN_OK);
    packed_.resize(static_cast<size_t>(bytes));
    EXPECT_EQ(gatun_qmatmul_pack(&weights_, codes.data(), nullptr, scales.data(), nullptr, packed_.data(), bytes),
              GATUN_OK);
    for (int i = 0; i < kStacked; ++i) {
      stack_.resize((stack_.size() + 63) / 64 * 64);
      stack_.insert(stack_.end(), packed_.begin(), packed_.end());
    }
    const std::vector<uint8_t> indices(kColumns * kDepth / 8, 0x8d);  // 1 3, 0 2
    const std::vector<float> sparse_values = rng_.normals(kColumns * kDepth / 2);
    for (const bool sparse_codes : {false, true}) {
      const gatun_nm_weights w = nm_weights(sparse_codes);
      Bytes& form = sparse_codes ? sparse_codes_ : sparse_floats_;
      EXPECT_EQ(gatun_nm_packed_bytes(&w, &bytes), GATUN_OK);
      form.resize(static_cast<size_t>(bytes));
      const void* values = sparse_codes ? static_cast<const void*>(codes.data()) : sparse_values.data();
      EXPECT_EQ(gatun_nm_pack(&w, values, indices.data(), sparse_codes ? scales.data() : nullptr, nullptr, form.data(),
                              bytes),
                GATUN_OK)
          << gatun_last_error();
    }
    // Subnormals among the inputs, so that a mode that flushes them shows.
    x_ = rng_.normals(kRows * kDepth);
    for (int64_t k = 0; k < kDepth; ++k) x_[k] *= 0x1p-130f;
    for (int64_t k = 0; k < kDepth; k += 3) x_[kDepth + k] *= 0x1p-128f;
  }

  Bytes qmatmul(int32_t mode, int32_t threads) const {
    Bytes y(kRows * kColumns * 4);
    const gatun_qmatmul_params params = qmatmul_params(mode, threads, kColumns);
    const int32_t status =
        gatun_qmatmul(&params, x_.data(), packed_.data(), size_of(packed_), nullptr, nullptr, y.data());
    return status == GATUN_OK ? y : Bytes();
  }

  Bytes concat(int32_t mode, int32_t threads) const {
    Bytes y(kRows * kStacked * kColumns * 4);
    const gatun_qmatmul_params params = qmatmul_params(mode, threads, kStacked * kColumns);
    const int32_t status =
        gatun_qmatmul_concat(&params, kStacked, x_.data(), stack_.data(), size_of(stack_), nullptr, nullptr, y.data());
    return status == GATUN_OK ? y : Bytes();
  }

  Bytes grouped(int32_t mode, int32_t threads) const {
    Bytes y(kRows * kColumns * 4);
    const gatun_qmatmul_params params = qmatmul_params(mode, threads, kColumns);
    const int64_t group_rows[kStacked] = {5, 0, kRows - 5};
    const int32_t status = gatun_qmatmul_grouped(&params, group_rows, kStacked, x_.data(), stack_.data(),
                                                 size_of(stack_), nullptr, nullptr, y.data());
    return status == GATUN_OK ? y : Bytes();
  }

  Bytes nm_matmul(int32_t mode, int32_t threads) const {
    Bytes y(kRows * kColumns * 4);
    const gatun_nm_matmul_params params = {sizeof(params), GATUN_F32, GATUN_F32, mode,    GATUN_ACTIVATION_SILU,
                                           threads,        kRows,     kColumns,  kDepth,  kDepth,
                                           kColumns,       0,         0,         kColumns};
    const Bytes& form = mode == GATUN_NM_INT8 ? sparse_codes_ : sparse_floats_;
    const int32_t status = gatun_nm_matmul(&params, x_.data(), form.data(), size_of(form), nullptr, nullptr, y.data());
    return status == GATUN_OK ? y : Bytes();
  }

  // Everything that the fit of x writes: factors, values and losses, then the indices.
  Bytes armor_fit(int32_t threads) const {
    constexpr int64_t kBlock = kDepth, kKept = kRows * kDepth / 2;
    const gatun_armor_fit_params params = {sizeof(params), 2, 4, 1, threads, 0, kRows, kDepth, kBlock};
    std::vector<float> floats(kRows * kRows + kKept + kDepth * kDepth);
    std::vector<double> losses(2);
    Bytes y(kKept / 4);
    float* const values = floats.data() + kRows * kRows;
    if (gatun_armor_fit(&params, x_.data(), nullptr, floats.data(), values, y.data(), values + kKept, losses.data()) !=
        GATUN_OK) {
      return {};
    }
    const auto* const from = reinterpret_cast<const uint8_t*>(floats.data());
    y.insert(y.end(), from, from + floats.size() * sizeof(float));
    const auto* const sums = reinterpret_cast<const uint8_t*>(losses.data());
    y.insert(y.end(), sums, sums + losses.size() * sizeof(double));
    return y;
  }

  Bytes norm(int32_t kind, int32_t threads) const {
    Bytes y(kRows * kDepth * 4);
    const gatun_norm_params params = {sizeof(params), kind,  GATUN_F32, GATUN_F32, threads,
                                      1e-30f,         kRows, kDepth,    kDepth,    kDepth};
    return gatun_norm(&params, x_.data(), nullptr, nullptr, y.data()) == GATUN_OK ? y : Bytes();
  }

  // Of one block a row of F32 values.
  static gatun_quantize_params quantize_params(int32_t code_dtype, int32_t zero_point, int32_t scale_dtype,
                                               int32_t threads, int64_t rows, int64_t group) {
    gatun_quantize_params params{};
    params.struct_size = sizeof(params);
    params.x_dtype = GATUN_F32;
    params.code_dtype = code_dtype;
    params.zero_point = zero_point;
    params.scale_dtype = scale_dtype;
    params.threads = threads;
    params.tensor_scale = 1.0f;
    params.rows = rows;
    params.depth = params.x_row_stride = kDepth;
    params.group = group;
    params.group_rows = params.x_column_stride = 1;
    return params;
  }

  Bytes quantize(int32_t threads) const {
    Bytes out(kRows * kDepth + kRows * kGroups * 4);
    const auto params = quantize_params(GATUN_I8, GATUN_ZERO_NONE, GATUN_F32, threads, kRows, kGroup);
    const int32_t status =
        gatun_quantize(&params, x_.data(), nullptr, nullptr, out.data(), out.data() + kRows * kDepth, nullptr);
    return status == GATUN_OK ? out : Bytes();
  }

  // The scale is 65519.996, the largest that f16 takes; rounded upward, max - min is one more and the scale 65520.
  Bytes quantize_at_the_limit(int32_t threads) const {
    std::vector<float> x(kDepth);
    x[0] = 16707599.0f;
    x[1] = -0.25f;
    Bytes out(kDepth + 3);
    const auto params = quantize_params(GATUN_U8, GATUN_ZERO_INTEGER, GATUN_F16, threads, 1, kDepth);
    const int32_t status =
        gatun_quantize(&params, x.data(), nullptr, nullptr, out.data() + 2, out.data(), out.data() + kDepth + 2);
    return status == GATUN_OK ? out : Bytes();
  }

  static Bytes self_test() {
    Bytes text(16384);
    const int32_t status = gatun_self_test(gatun_tier(), reinterpret_cast<char*>(text.data()), 16384);
    return status == GATUN_OK ? text : Bytes();
  }

  using Run = std::function<Bytes(int32_t threads)>;
  std::vector<Run> runs() const {
    return {[this](int32_t threads) { return qmatmul(GATUN_QMATMUL_INT8_ROW, threads); },
            [this](int32_t threads) { return qmatmul(GATUN_QMATMUL_INT8_GROUP, threads); },
            [this](int32_t threads) { return qmatmul(GATUN_QMATMUL_PRECISE, threads); },
            [this](int32_t threads) { return concat(GATUN_QMATMUL_INT8_ROW, threads); },
            [this](int32_t threads) { return concat(GATUN_QMATMUL_PRECISE, threads); },
            [this](int32_t threads) { return grouped(GATUN_QMATMUL_INT8_ROW, threads); },
            [this](int32_t threads) { return grouped(GATUN_QMATMUL_PRECISE, threads); },
            [this](int32_t threads) { return nm_matmul(GATUN_NM_F32, threads); },
            [this](int32_t threads) { return nm_matmul(GATUN_NM_INT8, threads); },
            [this](int32_t threads) { return armor_fit(threads); },
            [this](int32_t threads) { return norm(GATUN_NORM_LAYER, threads); },
            [this](int32_t threads) { return norm(GATUN_NORM_RMS, threads); },
            [this](int32_t threads) { return quantize(threads); },
            [this](int32_t threads) { return quantize_at_the_limit(threads); },
            [](int32_t) { return self_test(); }};
  }

 private:
  static int64_t size_of(const Bytes& bytes) { return static_cast<int64_t>(bytes.size()); }
  static gatun_qmatmul_params qmatmul_params(int32_t mode, int32_t threads, int64_t columns) {
    return {sizeof(gatun_qmatmul_params),
            GATUN_F32,
            GATUN_F32,
            mode,
            GATUN_ACTIVATION_SILU,
            threads,
            kRows,
            columns,
            kDepth,
            kDepth,
            columns,
            0,
            0,
            columns};
  }

  // 2:4, f32 or 4-bit codes.
  static gatun_nm_weights nm_weights(bool codes) {
    return {sizeof(gatun_nm_weights),
            2,
            4,
            1,
            codes ? GATUN_U4 : GATUN_F32,
            GATUN_ZERO_NONE,
            codes ? GATUN_F32 : 0,
            0,
            0,
            kColumns,
            kDepth,
            codes ? kGroup : 0};
  }

  static constexpr int32_t kStacked = 3;
  static constexpr int64_t kRows = 37, kColumns = 83, kDepth = 224, kGroup = 32, kGroups = kDepth / kGroup;
  Rng rng_;
  gatun_qmatmul_weights weights_ = {
      sizeof(gatun_qmatmul_weights), GATUN_U4, 0, GATUN_ZERO_NONE, GATUN_F32, 0, 1, 1.0f, kColumns, kDepth, kGroup};
  Bytes packed_, stack_, sparse_floats_, sparse_codes_;
  std::vector<float> x_;
};

#if defined(__x86_64__)
// The first test, as the library makes its code books when they are first asked for.
TEST(Callers, CodeBooksOfAFlushingCallerAreThoseOfAll) {
  std::fenv_t before;
  std::fegetenv(&before);
  std::fenv_t flushing = before;
  flushing.__mxcsr |= 0x8040;  // FTZ, DAZ
  gatun_quantize_params params{};
  params.struct_size = sizeof(params);
  params.x_dtype = GATUN_F32;
  params.code_dtype = GATUN_U4;
  params.book = GATUN_BOOK_FP4;
  params.scale_dtype = GATUN_F32;
  params.threads = 1;
  params.tensor_scale = 1;
  params.rows = params.group_rows = 1;
  params.depth = params.group = params.x_row_stride = 16;
  params.x_column_stride = 1;
  const std::vector<float> x = {1, 0, -0.0f, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  std::vector<uint8_t> codes(8);
  float scale;
  float books[2][256];
  std::fesetenv(&flushing);
  const int32_t status = gatun_quantize(&params, x.data(), nullptr, nullptr, codes.data(), &scale, nullptr);
  gatun_code_book(GATUN_BOOK_DYNAMIC, books[0]);
  std::fesetenv(&before);
  ASSERT_EQ(status, GATUN_OK) << gatun_last_error();
  EXPECT_EQ(codes[0], 0x03);
  EXPECT_EQ(codes[1], 0xb0);
  for (int i = 2; i < 8; ++i) EXPECT_EQ(codes[i], 0) << "byte " << i;
  std::fesetround(FE_TOWARDZERO);
  gatun_code_book(GATUN_BOOK_DYNAMIC, books[1]);
  std::fesetround(FE_TONEAREST);
  EXPECT_EQ(std::memcmp(books[0], books[1], sizeof(books[0])), 0);
}
#endif

TEST(Callers, ManyAtOnceGetTheBytesOfOne) {
  const Problem problem;
  const auto runs = problem.runs();
  std::vector<Bytes> alone;
  for (const auto& run : runs) {
    alone.push_back(run(1));
    ASSERT_FALSE(alone.back().empty()) << gatun_last_error();
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 64; ++caller) {
    callers.emplace_back([&, caller] {
      for (int call = 0; call < 20; ++call) {
        const size_t which = static_cast<size_t>(caller + call) % runs.size();
        if (runs[which](call % 5) != alone[which]) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

// Workers park soon after the last loop: nobody pays for a pool that nobody uses.
TEST(Callers, AnIdlePoolTakesNoTime) {
  const Problem problem;
  for (const auto& run : problem.runs()) run(4);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.004) << "one percent of a processor";
}

TEST(Callers, RoundingModeDoesNotMatterAndIsKept) {
  const Problem problem;
  for (const auto& run : problem.runs()) {
    const Bytes expected = run(1);
    for (const int32_t threads : {1, 3}) {
      ASSERT_EQ(std::fesetround(FE_UPWARD), 0);
      const Bytes y = run(threads);
      EXPECT_EQ(std::fegetround(), FE_UPWARD);
      std::fesetround(FE_TONEAREST);
      EXPECT_TRUE(identical(y, expected));
    }
  }
}

#if defined(__x86_64__)
TEST(Callers, FlushToZeroDoesNotMatterAndIsKept) {
  constexpr unsigned kFlush = 0x8040;  // FTZ, DAZ
  const Problem problem;
  std::fenv_t before;
  std::fegetenv(&before);
  std::fenv_t flushing = before;
  flushing.__mxcsr |= kFlush;
  for (const auto& run : problem.runs()) {
    const Bytes expected = run(1);
    for (const int32_t threads : {1, 3}) {
      std::fesetenv(&flushing);
      const Bytes y = run(threads);
      std::fenv_t after;
      std::fegetenv(&after);
      std::fesetenv(&before);
      EXPECT_EQ(after.__mxcsr & kFlush, kFlush);
      EXPECT_TRUE(identical(y, expected));
    }
    std::fenv_t after;
    std::fegetenv(&after);
    EXPECT_EQ(after.__mxcsr & kFlush, 0u);
  }
}
#endif

}  // namespace
}  // namespace gatun::test
