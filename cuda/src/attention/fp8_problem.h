// What the tests of INT8_FP8 share: calls, compared with fp8_reference.h.
#pragma once

#include "attention/device_problem.h"
#include "attention/fp8_reference.h"
#include "tolerance.h"

namespace gatun::cuda::attention {

inline constexpr Kind kFp8Kinds[] = {{GATUN_BF16, GATUN_BF16, GATUN_ATTENTION_INT8_FP8},
                                     {GATUN_F16, GATUN_F32, GATUN_ATTENTION_INT8_FP8},
                                     {GATUN_F32, GATUN_F32, GATUN_ATTENTION_INT8_FP8}};

inline Fp8Reference fp8_reference(const Problem& problem, bool exact_weights = false, bool smooth = true) {
  return {problem.params(), problem.inputs(), exact_weights, smooth};
}

inline void check_fp8(const Problem& problem, const Outputs& outputs, bool exact_weights) {
  const gatun_attention_params p = problem.params();
  const bool values = problem.inputs().v != nullptr;
  const Fp8Reference oracle = fp8_reference(problem, exact_weights);
  gatun::attention::Reference of_codes = oracle.reference();
  const int64_t element = dtype_bytes(p.out_dtype, 1);
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t h = 0; h < p.query_heads; ++h) {
      for (int64_t i = 0; i < of_codes.queries(b); ++i) {
        Fp8Reference::Expected expected = oracle.row(of_codes, b, h, i);
        if (outputs.out.size() > 0 && values) {
          std::vector<double> actual = gatun::test::to_doubles(
              outputs.out.data() + of_codes.out_index(b, h, i) * element, p.out_dtype, p.value_size);
          for (size_t c = 0; c < actual.size(); ++c) {
            expected.allowed[c] += gatun::test::unit_in_last_place(p.out_dtype, expected.out[c]);
            const bool same = std::isnan(expected.out[c]) ? std::isnan(actual[c]) : expected.out[c] == actual[c];
            if (!std::isfinite(expected.out[c]) && same) actual[c] = expected.out[c] = expected.allowed[c] = 0;
          }
          ASSERT_TRUE(gatun::test::within(actual, expected.out, expected.allowed))
              << "out, row " << b << ", " << h << ", " << i;
        }
        if (outputs.lse.empty()) continue;
        const double lse = static_cast<double>(outputs.lse[static_cast<size_t>(of_codes.lse_index(b, h, i))]);
        ASSERT_TRUE(gatun::test::within({lse}, {expected.lse}, {expected.lse_allowed}))
            << "lse, row " << b << ", " << h << ", " << i;
      }
    }
  }
}

// The row of the table for the problem; null where the device has none.
inline const KernelRow* fp8_row(const Problem& problem) {
  const gatun_attention_params p = problem.params();
  const std::vector<const KernelRow*> rows = rows_for(p, problem.inputs().q_offsets != nullptr);
#if defined(GATUN_EMULATED)
  EXPECT_EQ(rows.size(), 1u);
#endif
  return rows.empty() ? nullptr : rows.front();
}

inline void compare_fp8(const Problem& problem, bool exact_weights = false) {
  const KernelRow* const row = fp8_row(problem);
  if (row == nullptr) GTEST_SKIP() << "kernels of compute capability 9.0 alone";
  SCOPED_TRACE(testing::Message() << row->name << ", " << describe(const_cast<Problem&>(problem).spec()));
  Outputs outputs;
  ASSERT_NO_FATAL_FAILURE(call(problem, row, &outputs));
  if (!const_cast<Problem&>(problem).spec().lse) outputs.lse.clear();
  check_fp8(problem, outputs, exact_weights);
}

}  // namespace gatun::cuda::attention
