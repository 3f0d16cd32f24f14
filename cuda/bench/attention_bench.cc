// Attention, dense and over blocks, beside PyTorch's scaled_dot_product_attention and FlexAttention with the same
// blocks.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "attention/fp8_reference.h"
#include "attention/reference.h"
#include "base/dtype.h"
#include "gatun/cuda_attention.h"
#include "kernels.h"
#include "session.h"

namespace gatun::bench {
namespace {

constexpr int64_t kBlock = 128;
using Expected = cuda::attention::Fp8Reference::Expected;

struct Case {
  const char* name;
  int64_t heads, length, size;
  bool causal;
  int32_t mode;
  int64_t permille;  // of the blocks; 1000: no mask
  double goal;       // times PyTorch's speed of dense attention, or with a mask times our own; 0: none
  bool quick;
};

constexpr Case kCases[] = {
    {"bf16", 16, 16384, 128, false, GATUN_ATTENTION_EXACT, 1000, 0.5, true},
    {"bf16 causal", 16, 16384, 128, true, GATUN_ATTENTION_EXACT, 1000, 0.5, true},
    {"bf16", 16, 16384, 64, false, GATUN_ATTENTION_EXACT, 1000, 0, false},
    {"bf16", 16, 16384, 256, false, GATUN_ATTENTION_EXACT, 1000, 0, false},
    {"bf16", 64, 1024, 128, true, GATUN_ATTENTION_EXACT, 1000, 0, false},
    {"INT8", 16, 16384, 128, false, GATUN_ATTENTION_INT8, 1000, 0, true},
    {"INT8 + FP8", 16, 16384, 128, false, GATUN_ATTENTION_INT8_FP8, 1000, 1, true},
    {"bf16, 10 % of blocks", 16, 32768, 128, false, GATUN_ATTENTION_EXACT, 100, 7, true},
    {"bf16, 50 % of blocks", 16, 32768, 128, false, GATUN_ATTENTION_EXACT, 500, 0, false},
    {"INT8, 10 % of blocks", 16, 32768, 128, false, GATUN_ATTENTION_INT8, 100, 0, false},
    {"INT8 + FP8, 10 % of blocks", 16, 32768, 128, false, GATUN_ATTENTION_INT8_FP8, 100, 0, false},
};

// Whether a block is seen; torch_peer.py has the same rule.
bool is_seen(int64_t row, int64_t column, int64_t permille) {
  return row == column || (row * 7919 + column * 104729 + row * column * 31) % 1000 < permille;
}

// The lists of a mask that all heads share.
struct Mask {
  std::vector<int64_t> offsets = {0}, none;
  std::vector<int32_t> blocks;

  Mask(int64_t blocks_a_side, int64_t permille) {
    for (int64_t row = 0; row < blocks_a_side; ++row) {
      for (int64_t column = 0; column < blocks_a_side; ++column) {
        if (is_seen(row, column, permille)) blocks.push_back(static_cast<int32_t>(column));
      }
      offsets.push_back(static_cast<int64_t>(blocks.size()));
    }
    none.resize(offsets.size());
  }
};

template <class T>
Memory on_device(const std::vector<T>& values) {
  Memory memory(static_cast<int64_t>(values.size() * sizeof(T)));
  copy_to_device(memory.get(), values.data(), memory.bytes());
  return memory;
}

struct Attention {
  gatun_attention_params params{};
  Memory q, k, v, out, lse, workspace, offsets, none, blocks;
  Mask mask;
  bool masked;

  Attention(const Case& c, int64_t length, bool with_mask)
      : mask((length + kBlock - 1) / kBlock, c.permille), masked(with_mask) {
    gatun_attention_params& p = params;
    p.struct_size = sizeof(p);
    p.dtype = p.out_dtype = GATUN_BF16;
    p.mode = c.mode;
    p.causal = c.causal;
    p.scale = 1 / std::sqrt(static_cast<float>(c.size));
    p.window_left = p.window_right = -1;
    p.batch = 1;
    p.query_heads = p.kv_heads = c.heads;
    p.query_length = p.kv_length = p.lse_head_stride = length;
    p.head_size = p.value_size = c.size;
    p.q_row_stride = p.k_row_stride = p.v_row_stride = p.out_row_stride = c.size;
    p.q_head_stride = p.k_head_stride = p.v_head_stride = p.out_head_stride = length * c.size;
    if (masked) {
      p.query_block = p.key_block = kBlock;
      p.mask_batch = p.mask_heads = 1;
      p.query_blocks = static_cast<int64_t>(mask.offsets.size()) - 1;
      p.full_count = static_cast<int64_t>(mask.blocks.size());
      offsets = on_device(mask.offsets);
      none = on_device(mask.none);
      blocks = on_device(mask.blocks);
    }
    const int64_t count = c.heads * length * c.size;
    int32_t seed = 41;
    for (Memory* x : {&q, &k, &v}) {
      *x = Memory(count * 2);
      must(fill(GATUN_BF16, count, seed++, x->get(), stream()), "fill");
    }
    out = Memory(count * 2);
    lse = Memory(c.heads * length * 4);
    int64_t bytes = 0;
    must(gatun_cuda_attention_workspace_bytes(&p, 0, 0, &bytes), "gatun_cuda_attention_workspace_bytes");
    workspace = Memory(bytes);
  }

  void run() {
    must(gatun_cuda_attention(&params, q.get(), k.get(), v.get(), nullptr, nullptr, nullptr, nullptr, nullptr,
                              masked ? offsets.as<int64_t>() : nullptr, masked ? blocks.as<int32_t>() : nullptr,
                              masked ? none.as<int64_t>() : nullptr, nullptr, nullptr, out.get(), lse.as<float>(),
                              workspace.get(), workspace.bytes(), stream()),
         "gatun_cuda_attention");
  }

  // Products of q, k and v that are wanted, two operations each.
  double operations() const {
    const double rows = static_cast<double>(params.query_length), all = rows * rows;
    double seen = params.causal != 0 ? (all + rows) / 2 : all;
    if (masked) {
      const double side = static_cast<double>(mask.offsets.size()) - 1;
      seen = all * static_cast<double>(mask.blocks.size()) / (side * side);
    }
    return 4 * static_cast<double>(params.query_heads * params.head_size) * seen;
  }

  // ||out - expected|| / ||expected|| over sampled rows of a head, or nothing if a number is beyond the definition's
  // bound.
  std::optional<double> error() const {
    const int64_t head = params.query_heads / 2, row = params.head_size, count = params.query_length * row;
    const auto of_head = [&](const Memory& x) { return to_host<uint16_t>(x.at(head * count * 2), count); };
    const std::vector<uint16_t> q_head = of_head(q), k_head = of_head(k), v_head = of_head(v), out_head = of_head(out);
    gatun_attention_params p = params;
    p.query_heads = p.kv_heads = 1;
    attention::Inputs in{};
    in.q = q_head.data();
    in.k = k_head.data();
    in.v = v_head.data();
    if (masked) {
      in.full_offsets = mask.offsets.data();
      in.full_blocks = mask.blocks.data();
      in.partial_offsets = mask.none.data();
    }
    const bool fp8 = p.mode == GATUN_ATTENTION_INT8_FP8;
    std::optional<cuda::attention::Fp8Reference> codes;
    if (fp8) codes.emplace(p, in);
    attention::Reference reference = fp8 ? codes->reference() : attention::Reference(p, in);
    double squares = 0, expected_squares = 0;
    for (const int64_t i : {int64_t{0}, p.query_length / 3, p.query_length - 1}) {
      Expected expected;
      if (fp8) {
        expected = codes->row(reference, 0, 0, i);
      } else {
        const attention::Row of_row = reference.row(0, 0, i);
        expected.out = of_row.out;
        for (size_t c = 0; c < of_row.out.size(); ++c) expected.allowed.push_back(out_bound(p, of_row, c));
      }
      for (size_t c = 0; c < expected.out.size(); ++c) {
        const double value = double{bf16_to_f32(out_head[static_cast<size_t>(i * row) + c])};
        const double bound = expected.allowed[c] + std::ldexp(std::fabs(expected.out[c]), -7);
        if (!(std::fabs(value - expected.out[c]) <= bound)) {
          std::printf("WRONG: out[%lld][%lld][%zu] = %g, expected %g +- %g\n", static_cast<long long>(head),
                      static_cast<long long>(i), c, value, expected.out[c], bound);
          return std::nullopt;
        }
        squares += (value - expected.out[c]) * (value - expected.out[c]);
        expected_squares += expected.out[c] * expected.out[c];
      }
    }
    return std::sqrt(squares / expected_squares);
  }

  std::string explained() const {
    std::string text(2048, '\0');
    must(gatun_cuda_attention_explain(&params, 0, 0, text.data(), 2048), "gatun_cuda_attention_explain");
    const size_t at = text.find("kernel ") + 7;
    return text.substr(at, text.find(',', at) - at);
  }
};

Record record_of(const std::string& name, const std::string& impl, const Summary& seconds) {
  Record record{"attention", name, impl, "time", "us", {}, {}, {}, {}, "", ""};
  record.value = {1e6 * seconds.median, 1e6 * seconds.min, 1e6 * seconds.max};
  return record;
}

void measure(Session& session, const Case& c) {
  const int64_t length = session.is_tiny() ? 200 : c.length;
  const bool sparse = c.permille < 1000;
  const std::string name =
      std::string(c.name) + " " + std::to_string(c.heads) + "x" + std::to_string(length) + "x" + std::to_string(c.size);
  Attention work(c, length, sparse);
  work.run();
  const std::optional<double> error = work.error();
  if (!error) {
    std::printf("WRONG: %s\n", name.c_str());
    session.failed = true;
    return;
  }
  std::vector<Contender> contenders = {{"gatun", work.explained(), "", 1, [&](int64_t) { work.run(); }}};
  std::optional<Attention> dense;
  if (sparse) {
    dense.emplace(c, length, false);
    contenders.push_back({"gatun dense", dense->explained(), "", 1, [&](int64_t) { dense->run(); }});
  }
  const std::vector<Summary> seconds = time_side_by_side(contenders, session.effort);
  const auto limited = [&](Record& record, const Attention& of, double time) {
    const double bytes = 4.0 * static_cast<double>(of.q.bytes()) / session.limits.read_bytes;
    const double products = session.limits.bf16_products > 0 ? of.operations() / session.limits.bf16_products : 0;
    record.percent_of_limit = 100 * std::max(bytes, products) / time;
    record.timed = "the call; limit: ";
    record.timed += bytes >= products ? "reading memory" : "cuBLAS bf16 8192^3";
  };
  Record ours = record_of(name, "gatun", seconds[0]);
  ours.kernel = contenders[0].kernel;
  ours.rel_error = error;
  limited(ours, work, seconds[0].median);
  session.records.add(ours);
  if (sparse) {
    const double ratio = seconds[1].median / seconds[0].median;
    std::printf("  %.2f times as fast as all blocks\n", ratio);
    if (c.goal > 0) session.records.add(Target{name, "x all blocks", c.goal, ratio});
  }
  if (session.torch == nullptr) {
    if (!sparse && c.goal > 0) session.records.add(Target{name, "x PyTorch", c.goal, std::nullopt});
    return;
  }
  const std::string sizes = " " + std::to_string(c.heads) + " " + std::to_string(length) + " " + std::to_string(c.size);
  const auto time = session.torch->ask(sparse ? "flex_attention" + sizes + " " + std::to_string(kBlock) + " " +
                                                    std::to_string(c.permille)
                                              : "attention" + sizes + (c.causal ? " 1" : " 0"));
  std::optional<double> ratio;
  if (time) {
    Record record = record_of(name, time->impl, time->seconds);
    record.timed = "the call";
    session.records.add(record);
    ratio = time->seconds.median / seconds[0].median;
    std::printf("  %.2f times as fast as PyTorch\n", *ratio);
  }
  if (!sparse && c.goal > 0) session.records.add(Target{name, "x PyTorch", c.goal, ratio});
}

}  // namespace

void bench_attention(Session& session) {
  print_heading("attention");
  for (Case c : kCases) {
    if (session.scale == Scale::quick && !c.quick) continue;
    if (session.is_tiny()) c.heads = 1;
    if (c.mode == GATUN_ATTENTION_INT8_FP8 && session.device.capability != "9.0" && !session.is_tiny()) {
      std::printf("  %s: on compute capability 9.0 alone\n", c.name);
      continue;
    }
    measure(session, c);
    session.save();
  }
}

}  // namespace gatun::bench
