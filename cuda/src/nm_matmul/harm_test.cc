// Weights with faults and packed bytes that are not those of the weights: products of them mean nothing, but stay
// inside of memory and do what the instructions define.
#include "nm_matmul/test_sparse.h"

namespace gatun::cuda::nm_matmul {
namespace {

// y of a product by `kernel` or, where that is null, by the entry.
std::vector<uint8_t> multiplied(const KernelRow* kernel, const Weights& weights, const Product& product,
                                const std::vector<uint8_t>& packed) {
  const gatun_nm_matmul_params& p = product.params;
  const DeviceBuffer<uint8_t> on_packed(packed), x(product.x);
  DeviceBuffer<float> y(p.rows * p.columns);
  Problem problem = {};
  problem.params = p;
  EXPECT_EQ(form_of(&weights.description, &problem.form), GATUN_OK) << gatun_last_error();
  Device device = {};
  EXPECT_EQ(describe_device(0, &device), GATUN_OK) << gatun_last_error();
  const Plan plan = plan_on(kernel != nullptr ? *kernel : select(problem, device), problem);
  DeviceBuffer<uint8_t> workspace(plan.workspace_bytes);
  EXPECT_EQ(
      run_plan(plan, problem, {x.data(), on_packed.data(), nullptr, nullptr, y.data(), workspace.data()}, nullptr),
      GATUN_OK)
      << plan.kernel->name << ": " << gatun_last_error();
  const std::vector<float> result = y.copy();
  std::vector<uint8_t> bytes(result.size() * 4);
  std::memcpy(bytes.data(), result.data(), bytes.size());
  return bytes;
}

Form form_of_weights(const Weights& weights) {
  Form form = {};
  EXPECT_EQ(form_of(&weights.description, &form), GATUN_OK) << gatun_last_error();
  return form;
}

// of(unit) for each unit of a packed form.
template <class Of>
void on_units(const Form& form, std::vector<uint8_t>* packed, Of of) {
  for (int64_t i = 0; i < form.strips * form.units; ++i) {
    of(packed->data() + form.units_at + i * form.unit_bytes);
  }
}

// A small product of each kernel, with each type of values that it takes in each of its modes, and each of some
// patterns.
template <class Of>
void on_every_kernel(Of of) {
  struct Pattern {
    int32_t n, m;
  };
  constexpr Pattern kPatterns[] = {{2, 4}, {1, 32}, {3, 8}, {16, 32}, {2, 2}};
  for (const KernelRow& row : kernel_rows()) {
    if (!fits_device(row)) continue;
    for (const int32_t values : {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U4}) {
      if ((row.values >> values & 1) == 0) continue;
      for (const Pattern& pattern : kPatterns) {
        if (row.fragments && pattern.m != 4) continue;
        Case c = of_values(values,
                           row.arithmetic == Arithmetic::i8 ? GATUN_NM_INT8
                           : (row.modes & kF32Mode) != 0    ? GATUN_NM_F32
                           : row.modes == kF16Mode          ? int32_t{GATUN_NM_F16}
                                                            : GATUN_NM_BF16,
                           GATUN_ZERO_INTEGER);
        c.n = pattern.n;
        c.m = pattern.m;
        c.rows = 3;
        c.columns = 20;
        c.depth = 150;
        c.group = row.group_multiple == 0 ? 0 : 64;
        of(row, c);
      }
    }
  }
}

TEST(Harm, OfMasksWithTooManyPositionsOnlyTheLowestCount) {
  on_every_kernel([](const KernelRow& row, const Case& c) {
    SCOPED_TRACE(testing::Message() << row.name << ": " << c);
    Rng rng;
    const Weights weights(rng, c);
    const Product product(rng, c);
    const Form form = form_of_weights(weights);
    if (form.order != Order::lists) return;
    std::vector<uint8_t> any = weights.pack(), lowest;
    on_units(form, &any, [&](uint8_t* unit) {
      for (int i = 0; i < kMetadataBytes; ++i) unit[i] = static_cast<uint8_t>(rng.integer(0, 255));
    });
    lowest = any;
    on_units(form, &lowest, [&](uint8_t* unit) {
      for (int i = 0; i < kListsOfUnit; ++i) {
        uint32_t mask = 0, cut = 0;
        std::memcpy(&mask, unit + i * 4, 4);
        for (int slot = 0; slot < form.list_slots; ++slot, mask &= mask - 1) cut |= mask & (0 - mask);
        std::memcpy(unit + i * 4, &cut, 4);
      }
    });
    EXPECT_TRUE(
        gatun::test::identical(multiplied(&row, weights, product, any), multiplied(&row, weights, product, lowest)));
  });
}

TEST(Harm, AnyPackedBytesDoNone) {
  on_every_kernel([](const KernelRow& row, const Case& c) {
    Rng rng;
    const Weights weights(rng, c);
    const Form form = form_of_weights(weights);
    std::vector<uint8_t> packed = rng.integers<uint8_t>(form.bytes, 0, 255);
    if (row.fragments) {  // the instruction knows ascending pairs alone
      constexpr uint8_t kPairs[] = {4, 8, 12, 9, 13, 14};
      const auto pair = [&] { return kPairs[rng.integer(0, 5)]; };
      on_units(form, &packed, [&](uint8_t* unit) {
        for (int i = 0; i < kMetadataBytes; ++i) unit[i] = static_cast<uint8_t>(pair() | pair() << 4);
      });
    }
    multiplied(&row, weights, Product(rng, c), packed);
  });
}

TEST(Harm, WeightsWithFaultsDoNone) {
  struct ValuesAndMode {
    int32_t values, mode;
  };
  constexpr ValuesAndMode kAll[] = {{GATUN_F32, GATUN_NM_F32},   {GATUN_F16, GATUN_NM_F32}, {GATUN_F16, GATUN_NM_F16},
                                    {GATUN_BF16, GATUN_NM_BF16}, {GATUN_I8, GATUN_NM_F32},  {GATUN_I8, GATUN_NM_INT8},
                                    {GATUN_I8, GATUN_NM_BF16},   {GATUN_U4, GATUN_NM_F32},  {GATUN_U4, GATUN_NM_BF16},
                                    {GATUN_U4, GATUN_NM_F16},    {GATUN_U4, GATUN_NM_INT8}};
  for (const ValuesAndMode& all : kAll) {
    for (const int32_t m : {4, 8, 32}) {
      for (const int64_t rows : {1, 17}) {
        Case c = of_values(all.values, all.mode);
        c.m = m;
        c.rows = rows;
        c.columns = 20;
        c.depth = 100;
        SCOPED_TRACE(testing::Message() << c);
        Rng rng;
        Weights weights(rng, c);
        for (uint8_t& byte : weights.indices) byte = static_cast<uint8_t>(rng.integer(0, 255));
        weights.indices[0] = weights.indices[1] = 0;
        for (uint8_t& byte : weights.scales) byte = 0xff;
        const bool floats = weights.scales.empty();
        const size_t last = all.values == GATUN_F32 ? 3 : 1;  // byte of the first value
        if (floats) {
          weights.values[last] = 0x7f;
          weights.values[last - 1] = 0xff;
        }
        const std::vector<uint8_t> packed = weights.pack({floats ? 0 : -1, 1, floats ? -1 : 0});
        multiplied(nullptr, weights, Product(rng, c), packed);
      }
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::nm_matmul
