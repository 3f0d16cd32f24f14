// Selections: every documented refusal.
#include "gatun/attention_select.h"

#include "boundary.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kQueries = 40, kKeys = 50, kSize = 8, kHeads = 2;

// Good calls of all entries; each test spoils one thing.
class SelectBoundary : public ::testing::Test {
 protected:
  SelectBoundary() {
    good.struct_size = sizeof(good);
    good.dtype = good.out_dtype = GATUN_F32;
    good.threads = 1;
    good.scale = 1;
    good.window_left = good.window_right = -1;
    good.batch = 1;
    good.query_heads = good.kv_heads = kHeads;
    good.query_length = kQueries;
    good.kv_length = kKeys;
    good.head_size = good.value_size = kSize;
    good.q_row_stride = good.k_row_stride = good.v_row_stride = good.out_row_stride = kSize;
    good.q_head_stride = good.out_head_stride = kQueries * kSize;
    good.k_head_stride = good.v_head_stride = kKeys * kSize;
    good.lse_head_stride = kQueries;
    good.query_block = good.key_block = 16;
    good.query_blocks = 3;
    good_selection.struct_size = sizeof(good_selection);
    good_selection.amount = 0.5f;
    good_selection.stride = 8;
    good_selection.key_blocks = 4;
    good_selection.last_queries = 16;
    good_selection.proxy_heads = 1;
    params = good;
    selection = good_selection;
  }

  int32_t scores() {
    const bool mass = selection.kind == GATUN_SELECT_MASS;
    return gatun_attention_scores(given, given_selection, q_at, k_at, q_offsets, kv_offsets,
                                  mass ? lse.data() : nullptr, reinterpret_cast<float*>(scores_at));
  }
  int32_t choose() {
    return gatun_attention_choose(given, given_selection, q_offsets, kv_offsets, given_scores.data(), budgets, map_at);
  }
  int32_t lines() {
    return gatun_attention_lines(given, given_selection, q_at, k_at, q_offsets, kv_offsets,
                                 reinterpret_cast<float*>(sums.data()), reinterpret_cast<float*>(more_sums.data()));
  }
  int32_t draw() {
    return gatun_attention_vertical_slash(given, given_selection, q_offsets, kv_offsets, columns, diagonals, map_at);
  }
  int32_t measure() {
    return gatun_attention_budgets(given, given_selection, q_at, k_at, q_offsets, kv_offsets,
                                   reinterpret_cast<float*>(sums.data()));
  }
  int32_t select() {
    return gatun_attention_select(given, given_selection, budgets, q_at, k_at, q_offsets, kv_offsets, nullptr, map_at);
  }
  int32_t selected() {
    return gatun_attention_selected(given, given_selection, budgets, q_at, k_at, v.data(), q_offsets, kv_offsets,
                                    nullptr, nullptr, nullptr, nullptr, out.data(), nullptr,
                                    reinterpret_cast<float*>(density_at));
  }

  void refused(const std::function<int32_t()>& call, std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(call(), words));
    for (const std::vector<uint8_t>* output : {&score_bytes, &map, &sums, &more_sums, &out, &density}) {
      EXPECT_TRUE(untouched(*output)) << *words.begin();
    }
    params = good;
    selection = good_selection;
  }
  void all_refuse(std::initializer_list<const char*> words) {
    const gatun_attention_params bad = params;
    const gatun_selection_params bad_selection = selection;
    for (const std::function<int32_t()>& call : every()) {
      params = bad;
      selection = bad_selection;
      refused(call, words);
    }
  }
  std::vector<std::function<int32_t()>> every() {
    return {[this] { return scores(); },  [this] { return choose(); },  [this] { return lines(); },
            [this] { return draw(); },    [this] { return measure(); }, [this] { return select(); },
            [this] { return selected(); }};
  }

  gatun_attention_params good{}, params{};
  gatun_selection_params good_selection{}, selection{};
  const gatun_attention_params* given = &params;
  const gatun_selection_params* given_selection = &selection;
  std::vector<float> q = std::vector<float>(kHeads * kQueries * kSize, 1),
                     k = std::vector<float>(kHeads * kKeys * kSize, 2), v = k,
                     lse = std::vector<float>(kHeads * kQueries, 3), given_scores = std::vector<float>(kHeads * 12, 1);
  std::vector<uint8_t> score_bytes = std::vector<uint8_t>(kHeads * 12 * 4, kUntouched),
                       map = std::vector<uint8_t>(kHeads * 12, kUntouched),
                       sums = std::vector<uint8_t>(kHeads * kKeys * 4, kUntouched), more_sums = sums,
                       out = std::vector<uint8_t>(kHeads * kQueries * kSize * 4, kUntouched),
                       density = std::vector<uint8_t>(kHeads * 4, kUntouched);
  const void *q_at = q.data(), *k_at = k.data();
  const int64_t *q_offsets = nullptr, *kv_offsets = nullptr;
  const float *budgets = nullptr, *columns = nullptr, *diagonals = nullptr;
  uint8_t *map_at = map.data(), *scores_at = score_bytes.data(), *density_at = density.data();
};

TEST_F(SelectBoundary, TheGoodCallsAreAccepted) {
  for (const auto& call : every()) EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  for (const std::vector<uint8_t>* output : {&score_bytes, &map, &sums, &more_sums, &out, &density}) {
    EXPECT_FALSE(untouched(*output));
  }
}

TEST_F(SelectBoundary, Structs) {
  for (const auto& call : every()) {
    check_struct(params, given, "params", [&](auto words) { refused(call, words); });
    check_struct(selection, given_selection, "selection", [&](auto words) { refused(call, words); });
  }
}

TEST_F(SelectBoundary, DensityLiesOverNothing) {
  density_at = out.data();
  refused([this] { return selected(); }, {"density", "out"});
  for (std::vector<float>* const input : {&q, &k, &v}) {
    const std::vector<float> before = *input;
    density_at = reinterpret_cast<uint8_t*>(input->data());
    refused([this] { return selected(); }, {"density"});
    EXPECT_EQ(*input, before);
  }
}

TEST_F(SelectBoundary, Params) {
  params.dtype = GATUN_I8;
  all_refuse({"params.dtype", "F32"});
  params.head_size = 12;
  all_refuse({"params.head_size", "12"});
  for (const int64_t block : {int64_t{0}, int64_t{8}, int64_t{24}, int64_t{144}, kMin}) {
    params.query_block = block;
    all_refuse({"params.query_block", std::to_string(block).c_str(), "16"});
    params.key_block = block;
    all_refuse({"params.key_block", std::to_string(block).c_str(), "16"});
  }
}

TEST_F(SelectBoundary, BlocksThatDoNotFit) {
  const std::vector<std::function<int32_t()>> with_blocks = {[this] { return scores(); }, [this] { return choose(); },
                                                             [this] { return draw(); }, [this] { return select(); },
                                                             [this] { return selected(); }};
  for (const auto& call : with_blocks) {
    params.query_blocks = 2;
    refused(call, {"params.query_blocks = 2", "3", "40"});
    selection.key_blocks = 3;
    refused(call, {"selection.key_blocks = 3", "4", "50"});
    params.query_blocks = -1;
    refused(call, {"params.query_blocks = -1"});
    selection.key_blocks = int64_t{1} << 31;
    refused(call, {"selection.key_blocks = 2147483648"});
    params.query_blocks = int64_t{1} << 59;
    refused(call, {"4", "2^60"});
  }
}

TEST_F(SelectBoundary, Kinds) {
  for (const int32_t kind : {-1, 5, 1 << 30}) {
    for (const auto& call : {every()[0], every()[5], every()[6]}) {
      selection.kind = kind;
      refused(call, {"selection.kind", std::to_string(kind).c_str()});
    }
  }
  selection.kind = GATUN_SELECT_VERTICAL_SLASH;
  refused([this] { return scores(); }, {"VERTICAL_SLASH"});
  selection.similarity = std::numeric_limits<float>::quiet_NaN();
  refused([this] { return scores(); }, {"selection.similarity"});
  for (const int32_t stride : {-1, 0, 3, 5, 17, 32}) {
    selection.kind = GATUN_SELECT_ANTIDIAGONAL;
    selection.stride = stride;
    refused([this] { return scores(); }, {"selection.stride", std::to_string(stride).c_str()});
  }
  for (const int64_t heads : {int64_t{0}, int64_t{3}, kMin}) {
    selection.kind = GATUN_SELECT_PROXY;
    selection.proxy_heads = heads;
    refused([this] { return scores(); }, {"selection.proxy_heads", std::to_string(heads).c_str()});
  }
  const auto mass = [this] {
    selection.kind = GATUN_SELECT_MASS;
    return select();
  };
  refused(mass, {"lse_before is null"});
  refused(
      [this] {
        return gatun_attention_scores(given, given_selection, q_at, k_at, nullptr, nullptr, lse.data(),
                                      reinterpret_cast<float*>(scores_at));
      },
      {"lse is not null", "MASS"});
}

TEST_F(SelectBoundary, Choices) {
  for (const auto& call : {every()[1], every()[5], every()[6]}) {
    for (const int32_t keep : {-1, 3}) {
      selection.keep = keep;
      refused(call, {"selection.keep", std::to_string(keep).c_str()});
    }
    for (const float amount : {-0.1f, 1.1f, std::numeric_limits<float>::quiet_NaN()}) {
      selection.amount = amount;
      refused(call, {"selection.amount"});
      const std::vector<float> heads = {0.5f, amount};
      budgets = heads.data();
      refused(call, {"budgets[1]"});
      budgets = nullptr;
    }
    selection.keep_first = 2;
    refused(call, {"selection.keep_first = 2"});
    selection.keep_diagonal = -1;
    refused(call, {"selection.keep_diagonal = -1"});
  }
  selection.amount = 2;
  refused([this] { return measure(); }, {"selection.amount = 2"});
}

TEST_F(SelectBoundary, Lines) {
  for (const auto& call : {every()[2], every()[3], every()[4]}) {
    params.kv_length = int64_t{1} << 32;
    params.k_row_stride = 0;
    selection.key_blocks = int64_t{1} << 28;
    params.query_heads = params.kv_heads = 1;
    refused(call, {"params.kv_length = 4294967296", "4294967295"});
  }
  for (const int64_t last : {int64_t{0}, int64_t{-1}, int64_t{1025}, kMax}) {
    selection.last_queries = last;
    refused([this] { return lines(); }, {"selection.last_queries", std::to_string(last).c_str(), "1024"});
    selection.last_queries = last;
    refused([this] { return measure(); }, {"selection.last_queries", std::to_string(last).c_str(), "1024"});
  }
  for (int64_t gatun_selection_params::* field :
       {&gatun_selection_params::verticals, &gatun_selection_params::slashes, &gatun_selection_params::forced_verticals,
        &gatun_selection_params::forced_slashes}) {
    selection.*field = -1;
    refused([this] { return draw(); }, {"selection.", "s = -1"});
    selection.*field = kMax;
    EXPECT_EQ(draw(), GATUN_OK) << gatun_last_error();
    std::fill(map.begin(), map.end(), kUntouched);
    selection = good_selection;
  }
  columns = given_scores.data();
  refused([this] { return draw(); }, {"diagonals is null"});
  columns = nullptr;
  selection.kind = GATUN_SELECT_VERTICAL_SLASH;
  const std::vector<float> heads = {0.5f, 0.5f};
  budgets = heads.data();
  refused([this] { return select(); }, {"budgets"});
}

TEST_F(SelectBoundary, Offsets) {
  const std::vector<int64_t> queries = {0, 41}, keys = {0, 20}, falling = {10, 9};
  q_offsets = queries.data();
  all_refuse({"kv_offsets is null"});
  kv_offsets = keys.data();
  all_refuse({"q_offsets[1] = 41", "0..40"});
  q_offsets = keys.data();
  kv_offsets = falling.data();
  all_refuse({"kv_offsets[1] = 9", "10"});
}

TEST_F(SelectBoundary, NullsAlignmentAndOverlaps) {
  const std::vector<std::function<int32_t()>> with_values = {[this] { return scores(); }, [this] { return lines(); },
                                                             [this] { return measure(); }, [this] { return select(); },
                                                             [this] { return selected(); }};
  for (const auto& call : with_values) {
    q_at = nullptr;
    refused(call, {"q is null"});
    q_at = reinterpret_cast<const char*>(q.data()) + 1;
    params.query_length = kQueries - 1;
    refused(call, {"q is at", "4"});
    q_at = q.data();
    k_at = nullptr;
    refused(call, {"k is null"});
    k_at = k.data();
    params.q_head_stride = -1;
    refused(call, {"params.q_head_stride"});
    params.k_head_stride = int64_t{1} << 60;
    refused(call, {"k", "2^59"});
  }
  map_at = nullptr;
  for (const auto& call : {every()[1], every()[3], every()[5]}) refused(call, {"map is null"});
  map_at = reinterpret_cast<uint8_t*>(given_scores.data());
  const std::vector<float> before = given_scores;
  refused([this] { return choose(); }, {"map", "scores", "overlap"});
  EXPECT_TRUE(identical(given_scores, before));
  map_at = reinterpret_cast<uint8_t*>(q.data());
  const std::vector<float> q_before = q;
  refused([this] { return select(); }, {"map", "q", "overlap"});
  scores_at = reinterpret_cast<uint8_t*>(q.data());
  refused([this] { return scores(); }, {"scores", "q", "overlap"});
  EXPECT_TRUE(identical(q, q_before));
}

TEST_F(SelectBoundary, Explain) {
  check_text(
      [&](char* text, int64_t size) { return gatun_attention_select_explain(given, given_selection, text, size); },
      2048);
  selection.kind = 9;
  std::vector<char> text(2048, '\x7f');
  EXPECT_TRUE(invalid(gatun_attention_select_explain(given, given_selection, text.data(), 2048), {"kind", "9"}));
}

class RowsBoundary : public ::testing::Test {
 protected:
  RowsBoundary() {
    good.struct_size = sizeof(good);
    good.dtype = GATUN_BF16;
    good.threads = 1;
    good.projections = 4;
    good.batch = 1;
    good.heads = 2;
    good.length = 10;
    good.rows = 6;
    good.head_size = 8;
    good.x_row_stride = good.y_row_stride = 8;
    good.x_head_stride = good.y_head_stride = 80;
    params = good;
  }
  using Call = std::function<int32_t()>;
  const Call hash = [this] { return gatun_attention_lsh(given, x_at, reinterpret_cast<int32_t*>(order_bytes.data())); };
  const Call gather = [this] { return gatun_attention_gather(given, x_at, order.data(), y_at); };
  const Call scatter = [this] { return gatun_attention_scatter(given, x_at, order.data(), y_at); };

  void refused(const Call& call, std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_TRUE(untouched(order_bytes) && untouched(y)) << *words.begin();
    params = good;
  }
  void all_refuse(std::initializer_list<const char*> words) {
    const gatun_attention_rows_params bad = params;
    for (const Call& call : {hash, gather, scatter}) {
      params = bad;
      refused(call, words);
    }
  }

  gatun_attention_rows_params good{}, params{};
  const gatun_attention_rows_params* given = &params;
  std::vector<uint16_t> x = std::vector<uint16_t>(160, 0x3f80);
  std::vector<uint8_t> y = std::vector<uint8_t>(320, kUntouched), order_bytes = std::vector<uint8_t>(80, kUntouched);
  std::vector<int32_t> order = {0, 1, 2, 3, 4, 5, 9, 8, 7, 6, 5, 4};
  const void* x_at = x.data();
  void* y_at = y.data();
};

TEST_F(RowsBoundary, TheGoodCallsAreAccepted) {
  for (const Call& call : {hash, gather, scatter}) EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(y) || untouched(order_bytes));
}

TEST_F(RowsBoundary, Params) {
  for (const Call& call : {hash, gather, scatter}) {
    check_struct(params, given, "params", [&](auto words) { refused(call, words); });
  }
  params.dtype = GATUN_I8;
  all_refuse({"params.dtype"});
  params.threads = -1;
  all_refuse({"params.threads"});
  params.batch = -1;
  all_refuse({"params.batch = -1"});
  params.heads = kMax;
  all_refuse({"params.heads"});
  params.length = int64_t{1} << 31;
  all_refuse({"params.length"});
  params.head_size = 0;
  all_refuse({"params.head_size = 0"});
  params.x_head_stride = -8;
  all_refuse({"params.x_head_stride = -8"});
  for (const int32_t projections : {0, 17}) {
    params.projections = projections;
    refused(hash, {"params.projections", std::to_string(projections).c_str()});
  }
  params.head_size = params.x_row_stride = 264;
  refused(hash, {"params.head_size = 264"});
  for (const Call& call : {gather, scatter}) {
    params.rows = -1;
    refused(call, {"params.rows = -1"});
    params.y_row_stride = 7;
    refused(call, {"params.y_row_stride = 7", "8"});
  }
}

TEST_F(RowsBoundary, Orders) {
  for (const int32_t row : {-1, 10, INT32_MAX}) {
    order[7] = row;
    refused(gather, {"order[7]", std::to_string(row).c_str(), "0..9"});
    refused(scatter, {"order[7]", std::to_string(row).c_str(), "0..9"});
  }
  order[7] = 9;  // twice
  refused(scatter, {"order[7] = 9", "once"});
  EXPECT_EQ(gather(), GATUN_OK) << gatun_last_error();
}

TEST_F(RowsBoundary, NullsAlignmentAndOverlaps) {
  x_at = nullptr;
  all_refuse({"x is null"});
  x_at = reinterpret_cast<const char*>(x.data()) + 1;
  params.length = 9;
  all_refuse({"x is at"});
  x_at = x.data();
  y_at = nullptr;
  refused(gather, {"y is null"});
  y_at = x.data() + 8;
  refused(scatter, {"y", "x", "overlap"});
}

}  // namespace
}  // namespace gatun::test
