// gatun_decode_scores, gatun_decode_choose.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "decode_choose/reference.h"
#include "gatun/decode.h"
#include "input.h"

namespace gatun::fuzz {
namespace {

using LongLong = long long;

constexpr int64_t kMaxElements = int64_t{1} << 59;

template <class T>
Buffer buffer_of(const std::vector<T>& values) {
  Buffer buffer(static_cast<int64_t>(values.size() * sizeof(T)));
  std::copy_n(reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T), buffer.data());
  return buffer;
}
template <class T>
T* as(Buffer& buffer) {
  return reinterpret_cast<T*>(buffer.data());
}

// Rows [batch, heads, rows] of `columns` adjacent elements of 4 bytes.
struct Array {
  int64_t batch, batch_stride, heads, head_stride, rows, row_stride, columns;

  bool empty() const { return batch == 0 || heads == 0 || rows == 0 || columns == 0; }
  bool good_strides() const { return batch_stride >= 0 && head_stride >= 0 && row_stride >= 0; }
  // kImpossible, kUnaffordable.
  int64_t bytes() const {
    if (empty()) return 0;
    const auto step = [](int64_t size, int64_t stride) { return static_cast<__int128>(size - 1) * stride; };
    const __int128 last = step(batch, batch_stride) + step(heads, head_stride) + step(rows, row_stride);
    if (last > kMaxElements - columns) return kImpossible;
    return (last + columns) * 4 > kMaxBytes ? kUnaffordable : static_cast<int64_t>(last + columns) * 4;
  }
  // Whether no two of its rows share an element; there is one row a head.
  bool apart() const {
    if (empty()) return true;
    const bool inside = head_stride <= batch_stride;
    const int64_t inner = inside ? head_stride : batch_stride, inner_size = inside ? heads : batch;
    const int64_t outer = inside ? batch_stride : head_stride, outer_size = inside ? batch : heads;
    if (inner_size > 1 && inner < columns) return false;
    const __int128 span = columns + (inner_size > 1 ? static_cast<__int128>(inner_size - 1) * inner : 0);
    return outer_size < 2 || outer >= span;
  }
};

// Of an array that is needed; spoiled ones are null or misaligned.
bool good(const Array& array, const Buffer& buffer) {
  return array.empty() || (!buffer.is_null() && !buffer.misaligned());
}

// Then its strides do not matter.
bool absent(const Array& array, const Buffer& buffer) { return array.empty() && buffer.is_null(); }

std::vector<int64_t> lengths_of(Input& input, int64_t count, int64_t most) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < count; ++i) lengths.push_back(input.range(0, most));
  if (count > 0 && input.rarely()) lengths[static_cast<size_t>(input.range(0, count - 1))] = input.size();
  return lengths;
}

}  // namespace

void fuzz_decode_scores(Input& input) {
  gatun_decode_scores_params p{};
  const auto rarely_any = [&](int64_t usual) { return input.rarely() && input.rarely() ? input.size() : usual; };
  p.struct_size = input.struct_size(sizeof(p));
  p.threads = input.choice({0, 1, 2, 3});
  p.accumulate = input.choice({0, 1});
  p.reserved = input.rarely() ? input.choice({0}) : 0;
  p.batch = rarely_any(input.range(0, 3));
  p.heads = rarely_any(input.range(0, 3));
  const int64_t shared = input.range(1, 3);
  p.query_heads = rarely_any(p.heads >= 0 && p.heads <= 3 ? p.heads * shared : 0);
  p.query_length = rarely_any(input.range(0, 4));
  p.table_heads = rarely_any(input.range(0, 1) == 0 ? 1 : p.heads);
  const bool valid = p.struct_size == sizeof(p) && p.threads >= 0 && p.threads <= 1024 && p.accumulate >= 0 &&
                     p.accumulate <= 1 && p.reserved == 0 && p.batch >= 0 && p.heads >= 0 && p.query_heads >= 0 &&
                     p.query_length >= 0 && (p.table_heads == 1 || p.table_heads == p.heads) &&
                     (p.heads == 0 ? p.query_heads == 0 : p.query_heads % p.heads == 0);
  if (!valid) {
    check_status(gatun_decode_scores(&p, nullptr, nullptr, nullptr, nullptr), false, "decode_scores");
    return;
  }
  if (p.batch > 100 || p.heads > 100 || p.query_heads > 100 || p.query_length > 100) return;
  test::Rng rng = input.rng();
  const int64_t keys = input.range(0, 9) == 0 ? 1100 : input.range(0, 70);
  p.lse_head_stride = input.stride(p.query_length);
  p.lse_batch_stride = input.stride(input.range(0, 1) == 0 ? 0 : 400);
  p.logits_row_stride = input.stride(keys);
  p.logits_head_stride = input.stride(keys * p.query_length);
  p.logits_batch_stride = input.stride(keys * p.query_length * p.query_heads);
  p.scores_head_stride = input.stride(keys);
  p.scores_batch_stride =
      input.stride(p.scores_head_stride > 0 && p.scores_head_stride < 2000 ? p.heads * p.scores_head_stride : keys);
  const std::vector<int64_t> lengths = lengths_of(input, p.batch * p.table_heads, keys);
  const int64_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  const bool good_lengths = lengths.empty() || *std::min_element(lengths.begin(), lengths.end()) >= 0;
  if (longest > 2000) return;
  const Array of_lse = {p.batch, p.lse_batch_stride, p.query_heads, p.lse_head_stride, p.query_length, 1, longest > 0};
  const Array of_logits = {p.batch,        p.logits_batch_stride, p.query_heads, p.logits_head_stride,
                           p.query_length, p.logits_row_stride,   longest};
  const Array of_scores = {p.batch, p.scores_batch_stride, p.heads, p.scores_head_stride, 1, 0, longest};
  bool possible = true;
  Buffer buffers[3];
  const Array* const arrays[] = {&of_lse, &of_logits, &of_scores};
  for (int i = 0; i < 3; ++i) {
    const int64_t bytes = arrays[i]->good_strides() && good_lengths ? arrays[i]->bytes() : 0;
    if (bytes == kUnaffordable) return;
    buffers[i] = Buffer(bytes);
    buffers[i].fill_floats(rng, GATUN_F32, values(input), 3);
    buffers[i].spoil(input);
    possible = possible && (absent(*arrays[i], buffers[i]) || (bytes != kImpossible && arrays[i]->good_strides()));
  }
  auto& [lse, logits, scores] = buffers;
  Buffer length_bytes = buffer_of(lengths);
  const std::vector<uint8_t> before = scores.copy();
  const bool accepted = good_lengths && possible && good(of_lse, lse) && good(of_logits, logits) &&
                        good(of_scores, scores) && of_scores.apart();
  check_status(gatun_decode_scores(&p, as<float>(logits), as<float>(lse), as<int64_t>(length_bytes), as<float>(scores)),
               accepted, "decode_scores");
  if (!accepted) {
    if (scores.copy() != before) defect("a refused call of decode_scores has written scores");
    return;
  }
  for (int64_t item = 0; item < p.batch; ++item) {
    for (int64_t head = 0; head < p.heads; ++head) {
      const int64_t length = lengths[static_cast<size_t>(item * p.table_heads + (p.table_heads == 1 ? 0 : head))];
      for (int64_t j = 0; j < length; ++j) {
        const int64_t at = item * p.scores_batch_stride + head * p.scores_head_stride + j;
        double magnitude;
        const double sum =
            decode_choose::reference_score(p, as<float>(logits), as<float>(lse), item, head, j, &magnitude);
        const double old = p.accumulate != 0 ? static_cast<double>(float_at(before.data(), GATUN_F32, at)) : 0;
        const double terms = static_cast<double>(p.query_length * p.query_heads / p.heads), wanted = sum + old;
        const double actual = static_cast<double>(as<float>(scores)[at]);
        if (std::isnan(wanted) && std::isnan(actual)) continue;
        if (!(std::fabs(wanted) < 0x1p126)) continue;  // infinite, or about to be
        const double allowed =
            (0x1p-22 + 0x1p-24 * terms) * sum + 0x1p-23 * magnitude + terms * 0x1p-126 + 0x1p-23 * std::fabs(wanted);
        if (!(std::fabs(actual - wanted) <= allowed)) {
          defect("score %lld of head %lld of item %lld: %g, reference %g, allowed %g", LongLong{j}, LongLong{head},
                 LongLong{item}, actual, wanted, allowed);
        }
      }
    }
  }
}

void fuzz_decode_choose(Input& input) {
  gatun_decode_choose_params p{};
  const auto rarely_any = [&](int64_t usual) { return input.rarely() && input.rarely() ? input.size() : usual; };
  p.struct_size = input.struct_size(sizeof(p));
  p.threads = input.choice({0, 1, 2, 3});
  p.batch = rarely_any(input.range(0, 3));
  p.heads = rarely_any(input.range(0, 3));
  p.table_heads = rarely_any(input.range(0, 1) == 0 ? 1 : p.heads);
  p.table_stride = rarely_any(input.range(0, 60));
  p.page_size = rarely_any(input.range(1, 20));
  p.budget = rarely_any(input.range(0, 40));
  p.keep_first = rarely_any(input.range(0, 5));
  p.keep_last = rarely_any(input.range(1, 5));
  const int64_t most = std::min(p.budget, p.table_stride);
  p.chosen_stride = input.stride(most);
  p.scores_head_stride = input.stride(p.table_stride);
  const bool small = p.heads >= 0 && p.heads < 100 && p.scores_head_stride >= 0 && p.scores_head_stride < 1000;
  p.scores_batch_stride = input.stride(small ? p.heads * p.scores_head_stride : 0);
  const bool valid = p.struct_size == sizeof(p) && p.threads >= 0 && p.threads <= 1024 && p.batch >= 0 &&
                     p.heads >= 0 && (p.table_heads == 1 || p.table_heads == p.heads) && p.table_stride >= 0 &&
                     p.page_size >= 1 && p.budget >= 0 && p.keep_first >= 0 && p.keep_last >= 1 &&
                     p.chosen_stride >= most;
  if (!valid) {
    check_status(gatun_decode_choose(&p, nullptr, nullptr, nullptr, nullptr, nullptr), false, "decode_choose");
    return;
  }
  if (p.batch > 100 || p.heads > 100 || p.table_stride > 1000 || p.page_size > 1000) return;
  test::Rng rng = input.rng();
  const std::vector<int64_t> lengths = lengths_of(input, p.batch * p.table_heads, p.table_stride * p.page_size);
  bool accepted = true;
  int64_t longest = 0;
  for (const int64_t length : lengths) {
    accepted = accepted && length >= 0 && length <= p.table_stride * p.page_size;
    longest = std::max(longest, length);
  }
  const int64_t pages = accepted ? blocks_of(longest, p.page_size) : 0;
  const Array of_scores = {p.batch, p.scores_batch_stride, p.heads, p.scores_head_stride, 1, 0, pages};
  const Array of_table = {p.batch, p.table_heads * p.table_stride, p.table_heads, p.table_stride, 1, 0, pages};
  const __int128 row = static_cast<__int128>(p.heads) * p.chosen_stride;
  const Array of_chosen = {p.batch,
                           static_cast<int64_t>(std::min<__int128>(row, INT64_MAX)),
                           p.heads,
                           p.chosen_stride,
                           1,
                           0,
                           std::min(p.budget, pages)};
  const Array of_lengths = {1, 0, 1, 0, 1, 0, 2 * p.batch * p.heads};
  Buffer buffers[4];
  const Array* const arrays[] = {&of_scores, &of_table, &of_chosen, &of_lengths};
  for (int i = 0; i < 4; ++i) {
    const int64_t bytes = arrays[i]->good_strides() ? arrays[i]->bytes() : 0;
    if (bytes == kUnaffordable) return;
    buffers[i] = Buffer(bytes);
    if (i == 0) buffers[i].fill_floats(rng, GATUN_F32, values(input));
    if (i != 0) buffers[i].fill_integers(rng, 0, 255);
    buffers[i].spoil(input);
    accepted = accepted && good(*arrays[i], buffers[i]) &&
               (absent(*arrays[i], buffers[i]) || (bytes != kImpossible && arrays[i]->good_strides()));
  }
  auto& [scores, table, chosen, chosen_lengths] = buffers;
  Buffer length_bytes = buffer_of(lengths);
  std::vector<uint8_t> expected = chosen.copy(), expected_lengths = chosen_lengths.copy();
  for (int64_t i = 0; accepted && i < p.batch * p.heads; ++i) {
    const int64_t item = i / p.heads, head = i % p.heads;
    const int64_t table_row = item * p.table_heads + (p.table_heads == 1 ? 0 : head);
    const int64_t length = lengths[static_cast<size_t>(table_row)];
    int64_t tokens = 0, count = 0;
    const float* const of_row =
        pages == 0 ? nullptr : as<float>(scores) + item * p.scores_batch_stride + head * p.scores_head_stride;
    for (const int64_t page : decode_choose::reference_choice(p, of_row, blocks_of(length, p.page_size))) {
      const int64_t place = i * p.chosen_stride + count++;
      std::memcpy(expected.data() + 4 * place, table.data() + 4 * (table_row * p.table_stride + page), 4);
      tokens += std::min(p.page_size, length - page * p.page_size);
    }
    std::memcpy(expected_lengths.data() + 8 * i, &tokens, 8);
  }
  check_status(gatun_decode_choose(&p, as<float>(scores), as<int32_t>(table), as<int64_t>(length_bytes),
                                   as<int32_t>(chosen), as<int64_t>(chosen_lengths)),
               accepted, "decode_choose");
  if (chosen.copy() != expected || chosen_lengths.copy() != expected_lengths) {
    defect("a choice of pages differs from the reference");
  }
}

}  // namespace gatun::fuzz
