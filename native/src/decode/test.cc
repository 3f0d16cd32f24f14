// Formats, head sizes, lengths and pages: every one against the reference.
#include <cstdio>

#include "decode/test_problem.h"

namespace gatun::decode {
namespace {

// The largest parts of the bounds that the tests used.
class Report : public ::testing::Environment {
 public:
  void TearDown() override {
    std::printf("of the bounds were used: out %.3f, lse %.3f, logits %.3f\n", used.out, used.lse, used.logits);
  }
};
const ::testing::Environment* const report = ::testing::AddGlobalTestEnvironment(new Report);

struct Kind {
  int32_t dtype, out_dtype, mode;
};
constexpr Kind kKinds[] = {
    {GATUN_F32, GATUN_F32, GATUN_DECODE_EXACT},  {GATUN_BF16, GATUN_BF16, GATUN_DECODE_EXACT},
    {GATUN_F16, GATUN_F16, GATUN_DECODE_EXACT},  {GATUN_F32, GATUN_F32, GATUN_DECODE_INT8},
    {GATUN_BF16, GATUN_F32, GATUN_DECODE_INT8},  {GATUN_F16, GATUN_F32, GATUN_DECODE_INT8},
    {GATUN_BF16, GATUN_F32, GATUN_DECODE_EXACT},
};

Spec spec_of(const Kind& kind, const Format& k, const Format& v) {
  Spec spec;
  spec.dtype = kind.dtype;
  spec.out_dtype = kind.out_dtype;
  spec.mode = kind.mode;
  spec.k = k;
  spec.v = v;
  return spec;
}

// Some sizes of groups do not divide some of heads.
constexpr int64_t kSizes[] = {64, 72, 128, 40};

TEST(Decode, KeysAndValuesOfEachFormat) {
  const std::vector<Format> formats = all_formats();
  size_t turn = 0;
  for (const Format& k : formats) {
    for (const Format& v : formats) {
      ++turn;
      Spec spec = spec_of(kKinds[turn % std::size(kKinds)], k, v);
      spec.size = kSizes[turn / 3 % 4];
      spec.value_size = kSizes[turn / 5 % 4];
      spec.ratio = 2;
      spec.lengths = {150};
      Problem problem(spec, turn);
      ASSERT_NO_FATAL_FAILURE(problem.compare());
    }
  }
}

TEST(Decode, QueriesOfEachKindWithEachFormat) {
  const std::vector<Format> formats = all_formats();
  for (size_t f = 0; f < formats.size(); ++f) {
    for (const Kind& kind : kKinds) {
      for (const bool keys : {true, false}) {
        const Format& other = formats[(f * 11 + 3) % formats.size()];
        Spec spec = spec_of(kind, keys ? formats[f] : other, keys ? other : formats[f]);
        spec.ratio = 3;
        spec.lengths = {97, 65};
        Problem problem(spec, f);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

TEST(Decode, HeadsOfEachSize) {
  for (int64_t size = 8; size <= 256; size += 8) {
    for (const Format& format : kSomeFormats) {
      const Kind& kind = kKinds[static_cast<size_t>(size / 8) % std::size(kKinds)];
      Spec spec = spec_of(kind, format, format);
      // Groups are below the size, or the whole row.
      if (format.scaling == GATUN_KV_PER_TOKEN && format.group >= size) spec.k.group = 0;
      spec.size = size;
      spec.value_size = 264 - size;
      if (format.scaling == GATUN_KV_PER_TOKEN && format.group >= spec.value_size) spec.v.group = 0;
      spec.query_length = size % 3 + 1;
      spec.ratio = size % 16 == 0 ? 1 : 2;
      spec.lengths = {83};
      Problem problem(spec);
      ASSERT_NO_FATAL_FAILURE(problem.compare());
    }
  }
}

TEST(Decode, LengthsAroundTilesOnPagesOfEachSize) {
  const std::vector<int64_t> lengths = {0, 1, 2, 15, 16, 17, 31, 33, 48, 63, 64, 65, 127, 128, 129, 255, 256, 257};
  for (const Format& format : kSomeFormats) {
    for (const int64_t page_size : {1, 3, 16, 17, 64, 256}) {
      if (format.scaling == GATUN_KV_PER_CHANNEL && page_size % format.group != 0) continue;
      for (const Kind& kind : kKinds) {
        Spec spec = spec_of(kind, format, format);
        spec.page_size = page_size;
        spec.lengths = lengths;
        Problem problem(spec);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
    for (const int64_t length : lengths) {
      Spec spec = spec_of(kKinds[0], format, format);
      spec.contiguous = true;
      spec.lengths = {length, length / 2};
      Problem problem(spec);
      ASSERT_NO_FATAL_FAILURE(problem.compare());
    }
  }
}

// Each 1024 keys are a part.
TEST(Decode, LengthsAroundParts) {
  for (const Format& format : kSomeFormats) {
    for (const int64_t page_size : {1, 3, 16, 17, 64, 256}) {
      if (format.scaling == GATUN_KV_PER_CHANNEL && page_size % format.group != 0) continue;
      Spec spec = spec_of(kKinds[static_cast<size_t>(page_size) % std::size(kKinds)], format, format);
      spec.size = spec.value_size = 40;
      spec.page_size = page_size;
      spec.lengths = {1023, 1024, 1025, 2048, 3073};
      Problem problem(spec);
      ASSERT_NO_FATAL_FAILURE(problem.compare());
    }
  }
}

TEST(Decode, QueriesThatShareKeys) {
  for (const Format& format : kSomeFormats) {
    for (const int64_t ratio : {1, 2, 3, 5, 8}) {
      for (const int64_t queries : {1, 2, 3, 4, 5, 8, 16, 17}) {
        Spec spec = spec_of(kKinds[static_cast<size_t>(ratio + queries) % std::size(kKinds)], format, format);
        spec.heads = 2;
        spec.ratio = ratio;
        spec.query_length = queries;
        spec.causal = queries % 2 == 0;
        spec.lengths = {70, 5};
        spec.size = spec.value_size = 48;
        Problem problem(spec);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

// Of 5 heads, sets of 2, 2 and 1 take turns.
TEST(Decode, SetsOfHeadsThatAreNotAlike) {
  for (const Format& format : kSomeFormats) {
    for (const int64_t ratio : {1, 4}) {
      Spec spec = spec_of(kKinds[0], format, format);
      spec.heads = 5;
      spec.ratio = ratio;
      spec.lengths = {70, 90};
      Problem problem(spec);
      ASSERT_NO_FATAL_FAILURE(problem.compare());
    }
  }
}

// Several tiles have the same scales; those of a part may begin in the middle. Without logits, tiles that the window
// hides are left out: from the tile of the sink keys to another one of its group of 192, or into the next group.
TEST(Decode, GroupsOfSeveralTiles) {
  size_t turn = 0;
  for (const Format& small : code_formats()) {
    if (small.scaling != GATUN_KV_PER_CHANNEL || small.group != 64) continue;
    for (const int64_t group : {128, 192}) {
      Format format = small;
      format.group = group;
      Spec spec = spec_of(kKinds[turn++ % std::size(kKinds)], format, format);
      spec.page_size = group == 128 ? 256 : 192;
      spec.size = spec.value_size = 40;
      spec.lengths = {128, 190, 200, 1300};
      ASSERT_NO_FATAL_FAILURE(Problem(spec).compare());
      spec.logits = false;
      spec.causal = true;
      spec.sink_keys = 3;
      spec.window_left = 50;
      spec.lengths = {190, 270, 350, 1300};  // the window begins in tiles 2, 3, 4 and 19
      ASSERT_NO_FATAL_FAILURE(Problem(spec).compare());
    }
  }
}

TEST(Decode, ManyQueries) {
  for (const Format& format : kSomeFormats) {
    Spec spec = spec_of(kKinds[0], format, format);
    spec.size = spec.value_size = 40;
    spec.query_length = 256;
    spec.lengths = {300};
    spec.causal = true;
    Problem problem(spec);
    ASSERT_NO_FATAL_FAILURE(problem.compare());
  }
}

}  // namespace
}  // namespace gatun::decode
