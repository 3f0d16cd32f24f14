// The C entry points of selections: check, select, call.
#include "gatun/attention_select.h"

#include <new>

#include "attention/check.h"
#include "attention_select/choice.h"
#include "attention_select/lines.h"
#include "attention_select/selection.h"
#include "base/status.h"
#include "base/text.h"

namespace gatun::attention_select {
namespace {

// Straight into the caller's array.
class ScoresSink : public Sink {
 public:
  ScoresSink(const Call& call, float* scores) : call_(call), scores_(scores) {}

  float* room(const Item& item, int64_t head, int64_t first, int64_t) override {
    return scores_ + call_.map_row(item.batch, head, first);
  }
  void done(const Item&, int64_t, int64_t, int64_t, const float*) override {}

 private:
  const Call& call_;
  float* const scores_;
};

// Through the thread's memory to a map.
class MapSink : public Sink {
 public:
  MapSink(const Call& call, uint8_t* map) : call_(call), map_(map) {}

  float* room(const Item&, int64_t, int64_t, int64_t count) override {
    if (get<uint64_t>(thread_memory().order, call_.s.key_blocks) == nullptr) return nullptr;
    return get<float>(thread_memory().scores, count * call_.s.key_blocks);
  }
  void done(const Item& item, int64_t head, int64_t first, int64_t count, const float* scores) override {
    uint64_t* const order = get<uint64_t>(thread_memory().order, call_.s.key_blocks);
    const float amount =
        call_.budgets != nullptr ? call_.budgets[item.batch * call_.p.query_heads + head] : call_.s.amount;
    for (int64_t i = 0; i < count; ++i) {
      choose_row(call_, item, first + i, amount, scores + i * call_.s.key_blocks, order,
                 map_ + call_.map_row(item.batch, head, first + i));
    }
  }

 private:
  const Call& call_;
  uint8_t* const map_;
};

}  // namespace

int32_t scores(Tier limit, const Params* params, const Selection* selection, const void* q, const void* k,
               const int64_t* q_offsets, const int64_t* kv_offsets, const float* lse, float* scores) {
  const Arguments a = {params, selection, q, k, q_offsets, kv_offsets, lse, nullptr};
  Call call;
  GATUN_TRY(read_structs(a, &call));
  GATUN_TRY(check_scores_kind(call.p, call.s, a));
  int64_t count;
  GATUN_TRY(check_map_size(call, "scores", &count));
  const Buffer output = output_of("scores", scores, count, 4);
  GATUN_TRY(check_call(limit, a, kScores, &output, 1, &call));
  if (count == 0) return GATUN_OK;
  clear_rest(call, scores);
  ScoresSink sink(call, scores);
  return score_blocks(call, sink);
}

int32_t choose(const Params* params, const Selection* selection, const int64_t* q_offsets, const int64_t* kv_offsets,
               const float* scores, const float* budgets, uint8_t* map) {
  const Arguments a = {params, selection, nullptr, nullptr, q_offsets, kv_offsets, nullptr, budgets};
  Call call;
  GATUN_TRY(read_structs(a, &call));
  int64_t count;
  GATUN_TRY(check_map_size(call, "map", &count));
  Buffer buffers[] = {output_of("map", map, count, 1), output_of("scores", scores, count, 4)};
  buffers[1].output = false;
  GATUN_TRY(check_call(Tier::scalar, a, kChoice, buffers, 2, &call));
  if (count == 0) return GATUN_OK;
  clear_rest(call, map);
  MapSink sink(call, map);
  const bool good =
      for_each_unit(call, call.p.query_heads, static_cast<double>(count) * 16, [&](const Unit& unit, const Item& item) {
        return for_each_chunk(unit, call.query_blocks(item), 64, [&](int64_t first, int64_t last) {
          if (sink.room(item, unit.keys_of, first, last - first) == nullptr) return false;
          const float* const rows = scores + call.map_row(item.batch, unit.keys_of, first);
          sink.done(item, unit.keys_of, first, last - first, rows);
          return true;
        });
      });
  return good ? GATUN_OK : no_memory();
}

int32_t check_select(Tier limit, const Arguments& a, uint8_t* map, Call* call, int64_t* count) {
  GATUN_TRY(check_select_kind(call->p, call->s, a));
  const bool lines = call->s.kind == GATUN_SELECT_VERTICAL_SLASH;
  GATUN_TRY(check_map_size(*call, "map", count));
  const Buffer output = output_of("map", map, map != nullptr ? *count : 0, 1);
  return check_call(limit, a, lines ? kLinesAndDraw : kScoresAndChoice, &output, 1, call);
}

int32_t select_into(const Call& call, uint8_t* map) {
  if (call.s.kind == GATUN_SELECT_VERTICAL_SLASH) return select_lines(call, map);
  clear_rest(call, map);
  MapSink sink(call, map);
  return score_blocks(call, sink);
}

int32_t select(Tier limit, const Params* params, const Selection* selection, const float* budgets, const void* q,
               const void* k, const int64_t* q_offsets, const int64_t* kv_offsets, const float* lse_before,
               uint8_t* map) {
  const Arguments a = {params, selection, q, k, q_offsets, kv_offsets, lse_before, budgets};
  Call call;
  GATUN_TRY(read_structs(a, &call));
  int64_t count;
  GATUN_TRY(check_select(limit, a, map, &call, &count));
  if (count == 0) return GATUN_OK;
  GATUN_TRY(check_not_null(map, "map"));
  return select_into(call, map);
}

}  // namespace gatun::attention_select

using namespace gatun;

int32_t gatun_attention_scores(const gatun_attention_params* params, const gatun_selection_params* selection,
                               const void* q, const void* k, const int64_t* q_offsets, const int64_t* kv_offsets,
                               const float* lse, float* scores) {
  return attention_select::or_no_memory([&] {
    return attention_select::scores(active_tier(), params, selection, q, k, q_offsets, kv_offsets, lse, scores);
  });
}

int32_t gatun_attention_choose(const gatun_attention_params* params, const gatun_selection_params* selection,
                               const int64_t* q_offsets, const int64_t* kv_offsets, const float* scores,
                               const float* budgets, uint8_t* map) {
  return attention_select::or_no_memory(
      [&] { return attention_select::choose(params, selection, q_offsets, kv_offsets, scores, budgets, map); });
}

int32_t gatun_attention_select(const gatun_attention_params* params, const gatun_selection_params* selection,
                               const float* budgets, const void* q, const void* k, const int64_t* q_offsets,
                               const int64_t* kv_offsets, const float* lse_before, uint8_t* map) {
  return attention_select::or_no_memory([&] {
    return attention_select::select(active_tier(), params, selection, budgets, q, k, q_offsets, kv_offsets, lse_before,
                                    map);
  });
}

int32_t gatun_attention_select_explain(const gatun_attention_params* params, const gatun_selection_params* selection,
                                       char* text, int64_t capacity) {
  using namespace attention_select;
  Call call;
  GATUN_TRY(read_structs({params, selection, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr}, &call));
  GATUN_TRY(check_range(call.s.kind, GATUN_SELECT_MEANS, GATUN_SELECT_MASS, "selection.kind"));
  constexpr const char* kKinds[] = {"MEANS", "ANTIDIAGONAL", "VERTICAL_SLASH", "PROXY", "MASS"};
  Text out;
  table().explain("q and k", call.p.dtype, "scores", GATUN_F32, out);
  const bool plain = call.s.kind == GATUN_SELECT_MEANS || call.s.kind == GATUN_SELECT_PROXY ||
                     table().select(call.p.dtype, GATUN_F32, active_tier()).kernel->multiply_groups == nullptr;
  if (plain) gemm::table().explain("products", GATUN_F32, "sums", GATUN_F32, out);
  out.add("  %s, products in %s\n", kKinds[call.s.kind], plain ? "f32" : "bf16 pairs");
  return out.copy_to(text, capacity);
}
