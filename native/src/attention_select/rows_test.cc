// Orders by locality-sensitive hashing, gathers and scatters.
#include <algorithm>
#include <numeric>

#include "attention_select/test_problem.h"
#include "gatun/gatun.h"

namespace gatun::test {
namespace {

gatun_attention_rows_params rows_params(int32_t dtype, int64_t batch, int64_t heads, int64_t length, int64_t size) {
  gatun_attention_rows_params p{};
  p.struct_size = sizeof(p);
  p.dtype = dtype;
  p.threads = 1;
  p.projections = 5;
  p.seed = 42;
  p.batch = batch;
  p.heads = heads;
  p.length = p.rows = length;
  p.head_size = size;
  p.x_row_stride = p.y_row_stride = size + 3;
  p.x_head_stride = p.y_head_stride = length * p.x_row_stride;
  p.x_batch_stride = p.y_batch_stride = heads * p.x_head_stride;
  return p;
}

// The definition: all sums are exact, since values are -1, 0 or 1 and numbers of projections have 17 bits.
std::vector<int32_t> expected_order(const gatun_attention_rows_params& p, const std::vector<float>& x, int64_t first) {
  const auto mixed = [](uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  };
  std::vector<uint32_t> gray_place(size_t{1} << p.projections);
  for (uint32_t place = 0; place < gray_place.size(); ++place) gray_place[place ^ place / 2] = place;
  std::vector<uint32_t> bucket;
  for (int64_t i = 0; i < p.length; ++i) {
    uint32_t code = 0;
    for (int b = 0; b < p.projections; ++b) {
      double sum = 0;
      for (int64_t k = 0; k < p.head_size; ++k) {
        const uint64_t z =
            mixed(static_cast<uint64_t>(p.seed) + static_cast<uint64_t>(256 * b + k + 1) * 0x9e3779b97f4a7c15u);
        const double r =
            static_cast<double>((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48)) - 131070;
        sum += r * double{x[static_cast<size_t>(first + i * p.x_row_stride + k)]};
      }
      if (sum > 0) code += 1u << b;
    }
    bucket.push_back(gray_place[code]);
  }
  std::vector<int32_t> order(static_cast<size_t>(p.length));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const uint32_t first_bucket = bucket[static_cast<size_t>(a)], second = bucket[static_cast<size_t>(b)];
    return first_bucket != second ? first_bucket < second : a < b;
  });
  return order;
}

TEST(Lsh, AgreesWithTheDefinition) {
  Rng rng(21);
  for (const int32_t dtype : kDtypes) {
    for (const int64_t length : {0, 1, 2, 255, 256, 257, 600}) {
      gatun_attention_rows_params p = rows_params(dtype, 2, 2, length, 24);
      p.projections = static_cast<int32_t>(rng.integer(1, 16));
      p.seed = static_cast<int64_t>(rng.next());
      const int64_t count = length == 0 ? 0 : 3 * p.x_head_stride + (length - 1) * p.x_row_stride + p.head_size;
      const std::vector<float> values = rng.small_integers(count, -1, 1);
      GuardBuffer<unsigned char> x(from_floats(values, dtype));
      x.make_read_only();
      for (const int32_t threads : {1, 8}) {
        p.threads = threads;
        GuardBuffer<int32_t> order(4 * length);
        ASSERT_EQ(gatun_attention_lsh(&p, x.data(), order.data()), GATUN_OK) << gatun_last_error();
        for (int64_t head = 0; head < 4; ++head) {
          const std::vector<int32_t> actual(order.data() + head * length, order.data() + (head + 1) * length);
          EXPECT_EQ(actual, expected_order(p, values, head * p.x_head_stride)) << length << " " << head;
        }
      }
    }
  }
}

TEST(Lsh, OfOneRowWithAnyStride) {
  for (const int32_t dtype : kDtypes) {
    gatun_attention_rows_params p = rows_params(dtype, 1, 1, 1, 16);
    p.x_row_stride = p.x_head_stride = p.x_batch_stride = INT64_MAX;
    const GuardBuffer<unsigned char> x(from_floats(std::vector<float>(16, 1), dtype));
    int32_t order = -1;
    ASSERT_EQ(gatun_attention_lsh(&p, x.data(), &order), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(order, 0);
  }
}

// Rows near one of a few directions come together: of neighbours in the order most are of the same one.
TEST(Lsh, BringsSimilarRowsTogether) {
  Rng rng(22);
  constexpr int64_t kDirections = 16, kRows = 1024, kSize = 64;
  const std::vector<float> directions = rng.normals(kDirections * kSize);
  std::vector<float> x = rng.normals(kRows * kSize, 0.2f);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t k = 0; k < kSize; ++k) {
      x[static_cast<size_t>(i * kSize + k)] += directions[static_cast<size_t>(i % kDirections * kSize + k)];
    }
  }
  gatun_attention_rows_params p = rows_params(GATUN_F32, 1, 1, kRows, kSize);
  p.x_row_stride = kSize;
  p.projections = 7;
  std::vector<int32_t> order(kRows);
  ASSERT_EQ(gatun_attention_lsh(&p, x.data(), order.data()), GATUN_OK) << gatun_last_error();
  int64_t together = 0;
  for (size_t i = 1; i < order.size(); ++i) together += order[i] % kDirections == order[i - 1] % kDirections;
  EXPECT_GT(together, kRows / 2);  // by chance 1 / 16
}

TEST(Rows, GatherAndScatter) {
  Rng rng(23);
  for (const int32_t dtype : kDtypes) {
    for (const int64_t rows : {0, 1, 30, 57}) {
      gatun_attention_rows_params p = rows_params(dtype, 2, 3, 57, 9);
      p.rows = rows;
      const int64_t element = dtype_bytes(dtype, 1), count = 5 * p.x_head_stride + 56 * p.x_row_stride + p.head_size;
      const std::vector<unsigned char> values = from_floats(rng.normals(count), dtype);
      GuardBuffer<unsigned char> x(values);
      x.make_read_only();
      std::vector<int32_t> order;
      for (int head = 0; head < 6; ++head) {
        std::vector<int32_t> all(57);
        std::iota(all.begin(), all.end(), 0);
        for (size_t i = 0; i < all.size(); ++i) {
          std::swap(all[i], all[static_cast<size_t>(rng.integer(static_cast<int64_t>(i), 56))]);
        }
        order.insert(order.end(), all.begin(), all.begin() + rows);
      }
      const auto row_at = [&](const unsigned char* from, int64_t head, int64_t row) {
        const unsigned char* first = from + (head * p.x_head_stride + row * p.x_row_stride) * element;
        return std::vector<unsigned char>(first, first + p.head_size * element);
      };
      for (const int32_t threads : {1, 8}) {
        p.threads = threads;
        GuardBuffer<unsigned char> y(count * element), back(count * element);
        const std::vector<unsigned char> untouched = back.copy();
        ASSERT_EQ(gatun_attention_gather(&p, x.data(), order.data(), y.data()), GATUN_OK) << gatun_last_error();
        ASSERT_EQ(gatun_attention_scatter(&p, y.data(), order.data(), back.data()), GATUN_OK) << gatun_last_error();
        for (int64_t head = 0; head < 6; ++head) {
          for (int64_t row = 0; row < 57; ++row) {
            const auto first = order.begin() + head * rows, found = std::find(first, first + rows, row);
            if (found == first + rows) {
              EXPECT_EQ(row_at(back.data(), head, row), row_at(untouched.data(), head, row));
            } else {
              EXPECT_EQ(row_at(y.data(), head, found - first), row_at(x.data(), head, row));
              EXPECT_EQ(row_at(back.data(), head, row), row_at(x.data(), head, row));
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace gatun::test
