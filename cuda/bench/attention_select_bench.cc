// Selections of a tenth of the blocks of a long causal prefill, beside the attention that they leave and dense
// attention.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "attention_select/sight.h"
#include "gatun/cuda_attention.h"
#include "gatun/cuda_attention_select.h"
#include "kernels.h"
#include "session.h"

namespace gatun::bench {
namespace {

constexpr int32_t kKinds[] = {GATUN_SELECT_MEANS, GATUN_SELECT_ANTIDIAGONAL, GATUN_SELECT_VERTICAL_SLASH,
                              GATUN_SELECT_PROXY, GATUN_SELECT_MASS};
constexpr const char* kNames[] = {"MEANS", "ANTIDIAGONAL S=16", "VERTICAL_SLASH", "PROXY 1 head", "MASS"};

// One sequence: rows of all heads are apart.
struct Prefill {
  gatun_attention_params p{};
  gatun_selection_params s{};
  Memory q, k, v, out, lse, map, density, workspace;

  explicit Prefill(bool tiny) {
    const int64_t length = tiny ? 150 : 32768, block = tiny ? 16 : 128;
    p.struct_size = sizeof(p);
    p.dtype = p.out_dtype = GATUN_BF16;
    p.causal = 1;
    p.head_size = p.value_size = tiny ? 16 : 128;
    p.scale = 8 / std::sqrt(static_cast<float>(p.head_size));
    p.window_left = p.window_right = -1;
    p.batch = 1;
    p.query_heads = tiny ? 2 : 32;
    p.kv_heads = tiny ? 1 : 8;
    p.query_length = p.kv_length = length;
    p.q_row_stride = p.k_row_stride = p.v_row_stride = p.out_row_stride = p.head_size;
    p.q_head_stride = p.k_head_stride = p.v_head_stride = p.out_head_stride = length * p.head_size;
    p.q_batch_stride = p.out_batch_stride = p.query_heads * p.q_head_stride;
    p.k_batch_stride = p.v_batch_stride = p.kv_heads * p.k_head_stride;
    p.lse_head_stride = length;
    p.lse_batch_stride = p.query_heads * length;
    p.query_block = p.key_block = block;
    p.query_blocks = (length + block - 1) / block;
    s.struct_size = sizeof(s);
    s.keep = GATUN_KEEP_FRACTION;
    s.amount = 0.1f;
    s.similarity = -1;
    s.keep_first = s.keep_diagonal = 1;
    s.stride = 16;
    s.key_blocks = p.query_blocks;
    s.last_queries = 64;
    s.verticals = s.slashes = length / 64;
    s.forced_verticals = s.forced_slashes = 30;
    s.proxy_heads = 1;
    q = Memory(p.q_batch_stride * 2);
    k = Memory(p.k_batch_stride * 2);
    v = Memory(p.v_batch_stride * 2);
    out = Memory(p.out_batch_stride * 2);
    lse = Memory(p.lse_batch_stride * 4);
    map = Memory(p.query_heads * p.query_blocks * s.key_blocks);
    density = Memory(p.query_heads * 4);
    must(fill(GATUN_BF16, p.q_batch_stride, 3, q.get(), stream()), "fill");
    must(fill(GATUN_BF16, p.k_batch_stride, 5, k.get(), stream()), "fill");
    must(fill(GATUN_BF16, p.v_batch_stride, 7, v.get(), stream()), "fill");
  }

  void take(int64_t bytes) {
    if (workspace.bytes() < bytes) workspace = Memory(bytes);
  }
  gatun_attention_params dense() const {
    gatun_attention_params params = p;
    params.query_block = params.key_block = params.query_blocks = 0;
    return params;
  }
  void reserve() {
    int64_t bytes = 0;
    must(gatun_cuda_attention_selected_workspace_bytes(&p, &s, 0, 0, &bytes), "selected_workspace_bytes");
    take(bytes);
    const gatun_attention_params params = dense();
    must(gatun_cuda_attention_workspace_bytes(&params, 0, 0, &bytes), "workspace_bytes");
    take(bytes);
  }
  const float* lse_before() const { return s.kind == GATUN_SELECT_MASS ? lse.as<float>() : nullptr; }

  void attend() {
    const gatun_attention_params params = dense();
    must(gatun_cuda_attention(&params, q.get(), k.get(), v.get(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                              nullptr, nullptr, nullptr, nullptr, out.get(), lse.as<float>(), workspace.get(),
                              workspace.bytes(), stream()),
         "gatun_cuda_attention");
  }
  void select() {
    must(gatun_cuda_attention_select(&p, &s, nullptr, q.get(), k.get(), nullptr, nullptr, lse_before(),
                                     map.as<uint8_t>(), workspace.get(), workspace.bytes(), stream()),
         "gatun_cuda_attention_select");
  }
  void attend_selected() {
    must(gatun_cuda_attention_selected(&p, &s, nullptr, q.get(), k.get(), v.get(), nullptr, nullptr, nullptr, nullptr,
                                       nullptr, lse_before(), out.get(), nullptr, density.as<float>(), workspace.get(),
                                       workspace.bytes(), stream()),
         "gatun_cuda_attention_selected");
  }

  // Whether the map has allowed blocks alone, the forced ones, of each row as many as it should, and as many of each
  // head as its density says.
  bool is_right() const {
    const auto bytes = to_host<uint8_t>(map.get(), map.bytes());
    const auto densities = to_host<float>(density.get(), p.query_heads);
    const attention_select::Sight sight(p, p.query_length, p.kv_length);
    for (int64_t head = 0; head < p.query_heads; ++head) {
      int64_t all_kept = 0, all_allowed = 0;
      for (int64_t a = 0; a < p.query_blocks; ++a) {
        const int64_t last = std::min(p.query_length, (a + 1) * p.query_block);
        const attention_select::Seen allowed = sight.of(a * p.query_block, last, p.key_block);
        const uint8_t* const row = bytes.data() + (head * p.query_blocks + a) * s.key_blocks;
        int64_t kept = 0;
        for (int64_t c = 0; c < s.key_blocks; ++c) {
          if (row[c] > (allowed.holds(c) ? 1 : 0)) return false;
          kept += row[c];
        }
        const int64_t forced = a == 0 ? 1 : 2;
        const int64_t wanted = static_cast<int64_t>(s.amount * static_cast<float>(allowed.count()));
        if (row[0] != 1 || row[a] != 1) return false;
        if (s.kind != GATUN_SELECT_VERTICAL_SLASH && kept != std::max(wanted, forced)) return false;
        all_kept += kept;
        all_allowed += allowed.count();
      }
      const float expected = static_cast<float>(all_kept) / static_cast<float>(all_allowed);
      if (densities[static_cast<size_t>(head)] != expected) return false;
    }
    return true;
  }
};

void measure(Session& session, Prefill& prefill, int32_t kind) {
  prefill.s.kind = kind;
  prefill.reserve();
  const std::string name = std::string(kNames[kind]) + " 10% of " + std::to_string(prefill.p.kv_length) + " keys, " +
                           std::to_string(prefill.p.query_heads) + "/" + std::to_string(prefill.p.kv_heads) + "x" +
                           std::to_string(prefill.p.head_size) + " causal";
  prefill.attend();  // the log-sum-exp of MASS
  prefill.select();
  prefill.attend_selected();
  if (!prefill.is_right()) {
    std::printf("WRONG: %s\n", name.c_str());
    session.failed = true;
    return;
  }
  const std::vector<Contender> contenders = {{"dense", "", "", 1, [&](int64_t) { prefill.attend(); }},
                                             {"selection", "", "", 1, [&](int64_t) { prefill.select(); }},
                                             {"selected", "", "", 1, [&](int64_t) { prefill.attend_selected(); }}};
  const std::vector<Summary> seconds = time_side_by_side(contenders, session.effort);
  const char* const timed[] = {"attention over all blocks", "the map alone", "selection, lists and attention"};
  for (size_t i = 0; i < contenders.size(); ++i) {
    Record record{"attention_select", name, "gatun " + contenders[i].impl, "time", "us", {}, {}, {}, {}, "", timed[i]};
    record.value = {1e6 * seconds[i].median, 1e6 * seconds[i].min, 1e6 * seconds[i].max};
    record.timed += "; limit: reading q and k once";
    record.percent_of_limit = 100 * static_cast<double>(prefill.q.bytes() + prefill.k.bytes()) /
                              session.limits.read_bytes / seconds[i].median;
    record.rel_error = 0;  // of the map
    record.kernel = first_line([&](char* text, int64_t capacity) {
      return i == 0 ? gatun_cuda_attention_explain(&prefill.p, 0, 0, text, capacity)
                    : gatun_cuda_attention_select_explain(&prefill.p, &prefill.s, 0, 0, text, capacity);
    });
    session.records.add(record);
  }
  if (kind != GATUN_SELECT_MASS) {
    session.records.add(Target{name, "x dense attention", 4, seconds[0].median / seconds[2].median});
    session.records.add(
        Target{name, "x faster than what it selects", 3, (seconds[2].median - seconds[1].median) / seconds[1].median});
  }
}

}  // namespace

void bench_attention_select(Session& session) {
  print_heading("attention_select");
  Prefill prefill(session.is_tiny());
  for (const int32_t kind : kKinds) {
    measure(session, prefill, kind);
    session.save();
  }
}

}  // namespace gatun::bench
