// A small product of each row of the table of kernels, with all that comes before and after it: short enough for
// valgrind.
#include "qmatmul/test_product.h"

namespace gatun::cuda::qmatmul {
namespace {

std::vector<Scheme> schemes_on(const KernelRow& row) {
  std::vector<Scheme> schemes = {row.zero_points >= GATUN_ZERO_FLOAT ? kU4Float : kU4Zero};
  if ((row.codes & bit(Codes::book4)) != 0) schemes.push_back(kNF4);
  return schemes;
}

TEST(SmallestOfEachKernel, IsRight) {
  Device device = {};
  ASSERT_EQ(describe_device(0, &device), GATUN_OK) << gatun_last_error();
  for (const KernelRow& row : kernel_rows()) {
    if (!row.capabilities.contains(device.major * 10 + device.minor)) continue;
    Case c;
    for (const int32_t mode : kModes) {
      if ((row.modes >> mode & 1) != 0) c.mode = mode;
    }
    c.scale_dtype = GATUN_F32;
    c.rows = 2;
    c.columns = 17;
    c.depth = 200;
    c.group = 128;
    c.bias = c.residual = true;
    c.activation = GATUN_ACTIVATION_SILU;
    for (const Scheme& scheme : schemes_on(row)) {
      c.scheme = scheme;
      expect_product(c, &row);
    }
  }
}

// Parts of the depth, which `finish` adds.
TEST(SmallestOfEachKernel, OfAPartOfTheDepth) {
  Case c;
  c.mode = GATUN_QMATMUL_INT8_GROUP;
  c.columns = 1;
  c.depth = 2048;
  c.group = 1024;
  c.scheme = kU4Float;
  const KernelRow& row = *kernel_rows().find("qmatmul_i8_simt_sm80");
  Rng rng;
  Problem problem = {};
  problem.params = Product(rng, c).params;
  const Weights weights(rng, c);
  ASSERT_EQ(form_of(&weights.description, &problem.form), GATUN_OK) << gatun_last_error();
  ASSERT_GT(plan_on(row, problem).parts, 1);
  expect_product(c, &row);
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
