// Writing, reading and moving against the CPU's definition; all of a pool's bytes are compared, so that those of other
// slots have to stay as they were.
#include <cmath>
#include <limits>

#include "kv_cache/test_device.h"

namespace gatun::cuda::kv_cache {
namespace {

using gatun::kv_cache::any_slots;
using gatun::kv_cache::reference_read;
using gatun::kv_cache::reference_write;
using gatun::kv_cache::text;
using gatun::kv_cache::unit_of;
using gatun::kv_cache::x_extent;
using Slots = std::vector<int64_t>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

// For codes all of it is finite, with stretches of zeros, of magnitudes whose scale f16 has no or hardly a number for,
// and extremes of both signs.
std::vector<float> any_x(Rng& rng, int64_t count, bool codes) {
  std::vector<float> x(static_cast<size_t>(count));
  float scale = 1;
  for (int64_t i = 0; i < count; ++i) {
    constexpr float kScales[] = {1, 1, 100, 0, 1e-9f, 3e-7f, 1e-4f};
    if (i % 16 == 0) scale = kScales[rng.integer(0, 6)];
    float& value = x[static_cast<size_t>(i)];
    value = codes ? scale * rng.normal() : rng.special();
    if (codes && rng.integer(0, 3) == 0) value = scale * 3 * (rng.next() & 1 ? 1.0f : -1.0f);
    if (!codes && rng.next() & 1) value = 100 * rng.normal();
  }
  return x;
}

// NaN is NaN, whatever its other bits are.
std::vector<uint8_t> one_nan(const std::vector<uint8_t>& x, int32_t dtype) {
  const std::vector<double> values =
      test::to_doubles(x.data(), dtype, static_cast<int64_t>(x.size()) / dtype_bytes(dtype, 1));
  std::vector<float> floats(values.size());
  for (size_t i = 0; i < values.size(); ++i) floats[i] = std::isnan(values[i]) ? kNan : static_cast<float>(values[i]);
  return test::from_floats(floats, dtype);
}

void compare(Rng& rng, const gatun_kv_layout& l, int32_t dtype, int64_t tokens, int64_t number) {
  SCOPED_TRACE(testing::Message() << text(l) << ", x in " << dtype_name(dtype));
  change_conditions(number);
  const int64_t offset = number % 3, element = dtype_bytes(dtype, 1);
  const Order order = number % 2 ? Order::rows_outside : Order::heads_outside;
  const Slots some = any_slots(rng, l, tokens, true);
  const DeviceBuffer<int64_t> slots(some);
  const gatun_kv_rows_params p = make_params(l, dtype, slots.count(), order, offset);
  const DeviceBuffer<uint8_t> x(test::from_floats(any_x(rng, x_extent(p, l), l.scaling != GATUN_KV_UNSCALED), dtype),
                                offset * element);
  HostPool expected(l, Rng(rng.next()));
  DeviceMemory pool(expected, l, offset);
  DeviceBuffer<gatun_cuda_faults> faults(1);
  ASSERT_EQ(gatun_cuda_kv_cache_write(&p, &l, x.data(), slots.data(), pool.rows(), pool.scales(), pool.zeros(),
                                      faults.data(), nullptr),
            GATUN_OK)
      << gatun_cuda_last_error();
  reference_write({p, expected.pool()}, x.copy().data(), some.data());
  ASSERT_TRUE(pool.same(expected)) << "written";
  expect_faults(faults, -1, -1);

  // Reading takes slots in any order, groups or not.
  const Slots others = any_slots(rng, make_layout({GATUN_F32}, 8, 0, 1, l.pages, l.page_size), tokens, true);
  const DeviceBuffer<int64_t> to_read(others);
  const gatun_kv_rows_params r = make_params(l, dtype, to_read.count(), order, offset);
  DeviceBuffer<uint8_t> back(x_extent(r, l) * element, offset * element);
  std::vector<uint8_t> wanted = back.copy();
  ASSERT_EQ(
      gatun_cuda_kv_cache_read(&r, &l, pool.rows(), pool.scales(), pool.zeros(), to_read.data(), back.data(), nullptr),
      GATUN_OK)
      << gatun_cuda_last_error();
  reference_read({r, expected.pool()}, others.data(), wanted.data());
  ASSERT_TRUE(test::identical(one_nan(back.copy(), dtype), one_nan(wanted, dtype))) << "read";
}

TEST(KvCache, Values) {
  Rng rng(1);
  int64_t number = 0;
  for (const Format& format : kValues) {
    for (const int64_t size : {8, 24, 128, 256}) {
      for (const int32_t dtype : gatun::kv_cache::kFloats) {
        compare(rng, make_layout(format, size, 0, 2, 5, 7, number % 2 ? Order::heads_outside : Order::rows_outside, 1),
                dtype, 17, number);
        ++number;
      }
    }
  }
}

TEST(KvCache, CodesWithScalesOfTokens) {
  Rng rng(2);
  int64_t number = 0;
  for (const Format& format : kCodes) {
    if (format.scaling != GATUN_KV_PER_TOKEN) continue;
    for (const auto& [size, group] : {std::pair<int64_t, int64_t>{8, 8},
                                      {40, 16},
                                      {40, 40},
                                      {64, 32},
                                      {72, 48},
                                      {128, 64},
                                      {256, 112},
                                      {256, 256}}) {
      const int32_t dtype = gatun::kv_cache::kFloats[number % 3];
      compare(rng,
              make_layout(format, size, group, 2, 3, 9, number % 2 ? Order::heads_outside : Order::rows_outside, 1),
              dtype, 11, number);
      ++number;
    }
  }
}

TEST(KvCache, CodesWithScalesOfChannels) {
  Rng rng(3);
  int64_t number = 0;
  for (const Format& format : kCodes) {
    if (format.scaling != GATUN_KV_PER_CHANNEL) continue;
    for (const int64_t size : {8, 72, 256}) {
      const int64_t group = number % 2 ? 16 : 48, page_size = number % 3 ? 48 : 96;
      compare(
          rng,
          make_layout(format, size, group, 2, 3, page_size, number % 2 ? Order::heads_outside : Order::rows_outside, 1),
          gatun::kv_cache::kFloats[number % 3], 96, number);
      ++number;
    }
  }
}

// More than a grid has threads at a time would do in one go.
TEST(KvCache, ManyRows) {
  Rng rng(4);
  compare(rng, make_layout(kCodes[1], 64, 16, 3, 40, 32), GATUN_F16, 1000, 1);
  compare(rng, make_layout(kValues[2], 64, 0, 3, 40, 32), GATUN_F32, 1000, 2);
}

// What lies in the slots of a token: of each head its row, scales and zero points.
Slots slots_of(const Slots& units, int64_t unit) {
  Slots slots;
  for (const int64_t index : units) {
    for (int64_t i = 0; i < unit; ++i) slots.push_back(index * unit + i);
  }
  return slots;
}

// As if all had been read first. Tokens whose slots are not in the pool are left out.
void compare_move(const gatun_kv_layout& l, const Slots& from, const Slots& to, int64_t number) {
  change_conditions(number);
  HostPool expected(l, Rng(static_cast<uint64_t>(number)));
  DeviceMemory pool(expected, l, number % 3);
  HostPool before = expected;
  const gatun::kv_cache::Pool source = before.pool(), target = expected.pool();
  for (int64_t head = 0; head < l.heads; ++head) {
    for (size_t t = 0; t < from.size(); ++t) {
      if (from[t] < 0 || to[t] < 0 || from[t] >= source.slots() || to[t] >= source.slots()) continue;
      std::copy_n(source.row(head, from[t]), row_bytes(l), target.row(head, to[t]));
      if (!source.scaled()) continue;
      const int64_t a = source.scale_index(head, from[t]), b = source.scale_index(head, to[t]);
      std::copy_n(source.scales + a, scales_of_row(l), target.scales + b);
      if (source.zeros != nullptr) std::copy_n(source.zeros + a, scales_of_row(l), target.zeros + b);
    }
  }
  const int64_t tokens = static_cast<int64_t>(from.size());
  int64_t bytes = 0;
  ASSERT_EQ(gatun_cuda_kv_cache_move_workspace_bytes(&l, tokens, &bytes), GATUN_OK) << gatun_cuda_last_error();
  DeviceBuffer<uint8_t> workspace(bytes);
  const DeviceBuffer<int64_t> device_from(from), device_to(to);
  ASSERT_EQ(gatun_cuda_kv_cache_move(&l, tokens, device_from.data(), device_to.data(), pool.rows(), pool.scales(),
                                     pool.zeros(), workspace.data(), bytes, nullptr),
            GATUN_OK)
      << gatun_cuda_last_error();
  ASSERT_TRUE(pool.same(expected)) << text(l) << ", " << tokens << " tokens";
}

TEST(KvCache, Moves) {
  Rng rng(5);
  int64_t number = 0;
  std::vector<gatun_kv_layout> layouts;
  for (const Format& format : kValues) layouts.push_back(make_layout(format, 72, 0, 3, 6, 7, Order::rows_outside, 1));
  for (const Format& format : kCodes) layouts.push_back(make_layout(format, 72, 16, 3, 7, 32, Order::heads_outside, 1));
  for (const gatun_kv_layout& l : layouts) {
    const int64_t unit = unit_of(l), tokens = rng.integer(0, 60);
    compare_move(l, any_slots(rng, l, tokens, false), any_slots(rng, l, tokens, false), number++);
    compare_move(l, slots_of({0, 1, 2, 3}, unit), slots_of({1, 2, 3, 0}, unit), number++);
    compare_move(l, slots_of({2, 2, 2}, unit), slots_of({3, 1, 2}, unit), number++);
    const int64_t beyond = l.pages * l.page_size / unit;
    compare_move(l, slots_of({2, beyond, 3, -1}, unit), slots_of({beyond, 1, 5, 0}, unit), number++);
    compare_move(l, {}, {}, number++);
  }
}

// Slots beside the pool, and groups that begin nowhere.
TEST(KvCache, SlotsThatFitNowhere) {
  for (const Format& format : {kValues[1], kCodes[1], kCodes[6]}) {
    const gatun_kv_layout l = make_layout(format, 64, 16, 2, 3, 32);
    HostPool expected(l, Rng(6));
    DeviceMemory pool(expected, l);
    Slots slots;
    for (const int64_t first : {int64_t{96}, int64_t{1} << 60, INT64_MIN}) {
      for (int64_t i = 0; i < 16; ++i) slots.push_back(first + i);
    }
    if (unit_of(l) > 1) {
      for (int64_t i = 0; i < 16; ++i) slots.push_back(8 + i);
    }
    const DeviceBuffer<int64_t> device_slots(slots);
    const gatun_kv_rows_params p = make_params(l, GATUN_F32, device_slots.count());
    DeviceBuffer<float> x(std::vector<float>(static_cast<size_t>(x_extent(p, l)), 3.0f));
    DeviceBuffer<gatun_cuda_faults> faults(1);
    ASSERT_EQ(gatun_cuda_kv_cache_write(&p, &l, x.data(), device_slots.data(), pool.rows(), pool.scales(), pool.zeros(),
                                        faults.data(), nullptr),
              GATUN_OK)
        << gatun_cuda_last_error();
    ASSERT_TRUE(pool.same(expected));
    if (unit_of(l) > 1) continue;
    ASSERT_EQ(gatun_cuda_kv_cache_read(&p, &l, pool.rows(), pool.scales(), pool.zeros(), device_slots.data(), x.data(),
                                       nullptr),
              GATUN_OK);
    EXPECT_EQ(x.copy(), std::vector<float>(static_cast<size_t>(x_extent(p, l)), 3.0f));
  }
}

// Where the first of what has no code is, in the order of heads, tokens, channels.
TEST(KvCache, Faults) {
  struct Case {
    Format format;
    float value;
    int64_t head, token, channel;
    bool scale;
  };
  Rng rng(7);
  int64_t number = 0;
  for (const Case& c : {Case{kCodes[0], kNan, 1, 70, 5, false}, Case{kCodes[1], kInfinity, 0, 0, 63, false},
                        Case{kCodes[3], -kInfinity, 1, 95, 0, false}, Case{kCodes[5], kNan, 1, 40, 33, false},
                        Case{kCodes[9], -kInfinity, 0, 95, 63, false}, Case{kCodes[0], 65520 * 127, 1, 3, 17, true},
                        Case{kCodes[2], 65520 * 2, 0, 9, 40, true}, Case{kCodes[4], -65520, 1, 80, 3, true},
                        Case{kCodes[7], -65520 * 2, 0, 50, 11, true}, Case{kCodes[8], -65520, 1, 16, 60, true}}) {
    change_conditions(number++);
    const gatun_kv_layout l = make_layout(c.format, 64, 16, 2, 4, 32);
    const gatun_kv_rows_params p = make_params(l, GATUN_F32, 96);
    std::vector<float> x = rng.normals(x_extent(p, l));
    const auto at = [&](int64_t head, int64_t token, int64_t channel) -> float& {
      return x[static_cast<size_t>(head * p.x_head_stride + token * p.x_row_stride + channel)];
    };
    at(c.head, c.token, c.channel) = at(1, 95, 63) = c.value;  // a later one does not hide the first
    Slots slots(96);
    std::iota(slots.begin(), slots.end(), 16);
    HostPool host(l, Rng(8));
    DeviceMemory pool(host, l);
    const bool channels = l.scaling == GATUN_KV_PER_CHANNEL;
    const int64_t row = c.head * 96 + c.token;
    const int64_t block = channels ? row / 16 * 64 + c.channel : row * 4 + c.channel / 16;
    DeviceBuffer<gatun_cuda_faults> faults(1);
    const auto write = [&] {
      const DeviceBuffer<float> device_x(x);
      const DeviceBuffer<int64_t> device_slots(slots);
      ASSERT_EQ(gatun_cuda_kv_cache_write(&p, &l, device_x.data(), device_slots.data(), pool.rows(), pool.scales(),
                                          pool.zeros(), faults.data(), nullptr),
                GATUN_OK)
          << gatun_cuda_last_error();
    };
    write();
    expect_faults(faults, c.scale ? -1 : row * 64 + c.channel, c.scale ? block : -1);
    // What is left out does not matter.
    std::fill_n(slots.begin() + c.token / 16 * 16, 16, -1);
    std::fill_n(slots.begin() + 80, 16, -1);
    write();
    expect_faults(faults, -1, -1);
  }
}

TEST(KvCache, EmptyWorkNeedsNoMemory) {
  for (const Format& format : {kValues[0], kCodes[3], kCodes[6]}) {
    gatun_kv_layout l = make_layout(format, 64, 16, 2, 0, 32);
    const gatun_kv_rows_params none = make_params(l, GATUN_F32, 0);
    DeviceBuffer<gatun_cuda_faults> faults(1);
    EXPECT_EQ(gatun_cuda_kv_cache_write(&none, &l, nullptr, nullptr, nullptr, nullptr, nullptr, faults.data(), nullptr),
              GATUN_OK)
        << gatun_cuda_last_error();
    expect_faults(faults, -1, -1);
    EXPECT_EQ(gatun_cuda_kv_cache_read(&none, &l, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK);
    EXPECT_EQ(gatun_cuda_kv_cache_move(&l, 0, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, nullptr),
              GATUN_OK);
  }
}

TEST(KvCache, Refusals) {
  const gatun_kv_layout l = make_layout(kCodes[1], 64, 16, 2, 3, 32);
  HostPool host(l, Rng(9));
  DeviceMemory pool(host, l);
  gatun_kv_rows_params p = make_params(l, GATUN_F32, 4);
  DeviceBuffer<float> x(x_extent(p, l));
  DeviceBuffer<int64_t> slots(Slots{1, 2, 3, 4});
  DeviceBuffer<gatun_cuda_faults> faults(1);
  const auto refuses = [&](const char* message, const void* given_x, gatun_cuda_faults* given_faults) {
    EXPECT_EQ(gatun_cuda_kv_cache_write(&p, &l, given_x, slots.data(), pool.rows(), pool.scales(), pool.zeros(),
                                        given_faults, nullptr),
              GATUN_INVALID_ARGUMENT);
    EXPECT_NE(std::strstr(gatun_cuda_last_error(), message), nullptr) << gatun_cuda_last_error();
  };
  float host_x[1024];
  refuses("x = ", host_x, faults.data());
  refuses("faults", x.data(), nullptr);
  refuses("faults", x.data(), reinterpret_cast<gatun_cuda_faults*>(x.data()));
  refuses("x", nullptr, faults.data());
  p.dtype = GATUN_I8;
  refuses("params.dtype", x.data(), faults.data());
  EXPECT_EQ(gatun_cuda_kv_cache_move(&l, 2, slots.data(), slots.data() + 2, pool.rows(), pool.scales(), pool.zeros(),
                                     nullptr, 0, nullptr),
            GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::strstr(gatun_cuda_last_error(), "workspace_bytes"), nullptr) << gatun_cuda_last_error();
  ASSERT_TRUE(pool.same(host));
  char text[1024];
  p.dtype = GATUN_F32;
  EXPECT_EQ(gatun_cuda_kv_cache_explain(&p, &l, 0, text, sizeof(text)), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_NE(std::strstr(text, "kv_cache_write_token_codes"), nullptr) << text;
}

// Short enough for valgrind.
TEST(SmallestOfEachKernel, IsRight) {
  Rng rng(10);
  for (const Format& format : {kValues[3], kCodes[3], kCodes[8]}) {
    const gatun_kv_layout l = make_layout(format, 40, 16, 1, 2, 16);
    compare(rng, l, GATUN_F16, 20, 1);
    compare_move(l, slots_of({0}, unit_of(l)), slots_of({1}, unit_of(l)), 1);
  }
}

}  // namespace
}  // namespace gatun::cuda::kv_cache
