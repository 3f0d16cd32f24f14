// The packed form against a packer written from form.h, and what packing refuses.
#include "qmatmul/form.h"

#include "base/packed.h"
#include "qmatmul/test_product.h"

namespace gatun::cuda::qmatmul {
namespace {

int plane_code(const Weights& w, int64_t n, int64_t k) {
  const gatun_qmatmul_weights& d = w.description;
  if (n >= d.columns || k >= d.depth) return 0;
  const int64_t bits = dtype_bytes(d.code_dtype, 8);
  int code = 0;
  for (int64_t b = 0; b < bits; ++b) {
    const int64_t bit = k * bits + b;
    code |= (w.codes[static_cast<size_t>(n * dtype_bytes(d.code_dtype, d.depth) + bit / 8)] >> bit % 8 & 1) << b;
  }
  return code;
}

// Element by element, as form.h describes it.
std::vector<uint8_t> packed_by_hand(const Weights& w, const Form& f) {
  std::vector<uint8_t> to(static_cast<size_t>(f.bytes), 0);
  const int bits = bits_of(f.codes);
  for (int64_t n = 0; n < f.padded_columns(); ++n) {
    for (int64_t k = 0; k < f.padded_depth; ++k) {
      const int64_t unit = n / 16 * f.units + k / unit_depth(f.codes);
      const int in_step = static_cast<int>(k % 16), r = static_cast<int>(n % 8), second = static_cast<int>(n % 16 / 8);
      const int step = static_cast<int>(k % unit_depth(f.codes) / 16);
      const int t = in_step % 8 / 2, byte = in_step % 2 * 2 + in_step / 8, lane = r * 4 + t;
      const int word = bits == 8 ? 2 * step + second : bits == 4 ? step : step / 2;
      const int shift = bits == 8 ? 0 : bits == 4 ? 4 * second : step % 2 * 4 + second * 2;
      uint8_t& at = to[static_cast<size_t>(f.codes_at + unit * 512 + lane * 16 + word * 4 + byte)];
      at = static_cast<uint8_t>(at | plane_code(w, n, k) << shift);
    }
    const int64_t scale = scale_bytes(f.scale_dtype), offset = offset_bytes(f.zero_point);
    for (int64_t g = 0; g < f.groups && n < f.columns; ++g) {
      const int64_t from = n / f.group_rows * f.groups + g, at = g * f.padded_columns() + n;
      std::memcpy(&to[static_cast<size_t>(f.scales_at + at * scale)], &w.scales[static_cast<size_t>(from * scale)],
                  static_cast<size_t>(scale));
      if (offset > 0) {
        std::memcpy(&to[static_cast<size_t>(f.offsets_at + at * offset)],
                    &w.zero_points[static_cast<size_t>(from * offset)], static_cast<size_t>(offset));
      }
    }
  }
  std::vector<float> book = w.book;
  if (w.description.book != GATUN_BOOK_NONE && book.empty()) {
    book.resize(256);
    EXPECT_EQ(gatun_code_book(w.description.book, book.data()), GATUN_OK);
  }
  const size_t book_bytes = static_cast<size_t>(book_values(f.codes)) * sizeof(float);
  if (book_bytes > 0) std::memcpy(&to[static_cast<size_t>(f.book_at)], book.data(), book_bytes);
  return to;
}

void expect_packed(const Case& c) {
  SCOPED_TRACE(testing::Message() << c);
  Rng rng(static_cast<uint64_t>(c.columns * 1000 + c.depth));
  const Weights weights(rng, c);
  Form form;
  ASSERT_EQ(form_of(&weights.description, &form), GATUN_OK) << gatun_last_error();
  std::vector<uint8_t> packed = weights.pack(), by_hand = packed_by_hand(weights, form);
  ASSERT_EQ(packed.size(), by_hand.size());
  PackedHeader header;
  std::memcpy(&header, packed.data(), sizeof(header));
  EXPECT_EQ(header.magic, kPackedMagic);
  EXPECT_EQ(header.format, PackedFormat::cuda_qmatmul);
  EXPECT_EQ(header.columns, c.columns);
  EXPECT_EQ(header.depth, c.depth);
  EXPECT_EQ(header.bytes, form.bytes);
  // Between the parts there may be anything.
  const int64_t scales = form.groups * form.padded_columns();
  const struct {
    int64_t at, bytes;
  } parts[] = {{form.codes_at, form.strips * form.units * kUnitBytes},
               {form.scales_at, scales * scale_bytes(form.scale_dtype)},
               {form.offsets_at, scales * offset_bytes(form.zero_point)},
               {form.book_at, book_values(form.codes) * int64_t{4}}};
  for (const auto& part : parts) {
    EXPECT_EQ(part.at % kPartAlignment, 0);
    EXPECT_LE(part.at + part.bytes, form.bytes);
    EXPECT_TRUE(gatun::test::identical(packed.data() + part.at, by_hand.data() + part.at, part.bytes)) << part.at;
  }
}

TEST(Form, EveryFormatAsDescribed) {
  for (const Scheme& scheme : kSchemes) {
    for (const int64_t columns : {0, 1, 16, 17, 37}) {
      for (const int64_t depth : {0, 1, 64, 129, 255}) {
        Case c;
        c.scheme = scheme;
        c.columns = columns;
        c.depth = depth;
        c.group = depth > 64 ? 17 : depth;
        c.scale_dtype = columns == 17 ? GATUN_F32 : columns == 37 ? GATUN_E8M0 : GATUN_F16;
        c.group_rows = columns == 37 ? 5 : 1;
        expect_packed(c);
      }
    }
  }
}

TEST(Form, TheCpuRefusesIt) {
  Rng rng;
  const Weights weights(rng, Case());
  const std::vector<uint8_t> packed = weights.pack();
  EXPECT_EQ(check_packed_prefix(packed.data(), static_cast<int64_t>(packed.size()), PackedFormat::qmatmul),
            GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_last_error()).find("gatun_cuda_qmatmul_pack"), std::string::npos) << gatun_last_error();
}

gatun_cuda_faults faults_of(const Weights& w) {
  int64_t bytes = 0;
  EXPECT_EQ(gatun_cuda_qmatmul_packed_bytes(&w.description, &bytes), GATUN_OK) << gatun_last_error();
  const DeviceBuffer<uint8_t> codes(w.codes), scales(w.scales), zeros(w.zero_points);
  DeviceBuffer<uint8_t> packed(bytes);
  DeviceBuffer<gatun_cuda_faults> faults(1);
  EXPECT_EQ(gatun_cuda_qmatmul_pack(&w.description, codes.data(), w.book.empty() ? nullptr : w.book.data(),
                                    scales.data(), w.zero_points.empty() ? nullptr : zeros.data(), packed.data(), bytes,
                                    faults.data(), nullptr),
            GATUN_OK)
      << gatun_last_error();
  return faults.copy()[0];
}

Case faulty(const Scheme& scheme, int32_t scale_dtype) {
  Case c;
  c.scheme = scheme;
  c.columns = 20;
  c.depth = 100;
  c.group = 50;
  c.scale_dtype = scale_dtype;
  return c;
}

TEST(Form, FaultyScalesAndZeroPoints) {
  const float bad[] = {NAN, INFINITY, -INFINITY, 0x1.8p64f, -0x1.8p64f};
  for (const float value : bad) {
    for (const int64_t index : {0, 7, 39}) {
      Rng rng;
      Weights w(rng, faulty(kU8Float, GATUN_F32));
      std::memcpy(&w.scales[static_cast<size_t>(4 * index)], &value, 4);
      EXPECT_EQ(faults_of(w).block, index);
      Weights z(rng, faulty(kU8Float, GATUN_F32));
      std::memcpy(&z.zero_points[static_cast<size_t>(4 * index)], &value, 4);
      EXPECT_EQ(faults_of(z).block, index);
      EXPECT_EQ(faults_of(z).value, -1);
      std::memcpy(&z.scales[4 * 5], &value, 4);  // the least index of both
      EXPECT_EQ(faults_of(z).block, std::min<int64_t>(index, 5));
    }
  }
  Rng rng;
  Weights most(rng, faulty(kU8Float, GATUN_F32));
  const float limit = -0x1p64f;
  std::memcpy(&most.scales[0], &limit, 4);
  EXPECT_EQ(faults_of(most).block, -1);
  const struct {
    int32_t dtype;
    uint16_t good, bad;
  } small[] = {{GATUN_F16, 0x7bff, 0x7c00}, {GATUN_F16, 0xfbff, 0xfe00}, {GATUN_E8M0, 191, 192},
               {GATUN_E8M0, 0, 255},        {GATUN_F8E4M3, 0x7e, 0x7f},  {GATUN_F8E4M3, 0xfe, 0xff}};
  for (const auto& s : small) {
    Weights w(rng, faulty(kE2M1, s.dtype));
    const int64_t size = dtype_bytes(s.dtype, 1);
    std::memcpy(&w.scales[static_cast<size_t>(9 * size)], &s.good, static_cast<size_t>(size));
    EXPECT_EQ(faults_of(w).block, -1);
    std::memcpy(&w.scales[static_cast<size_t>(9 * size)], &s.bad, static_cast<size_t>(size));
    EXPECT_EQ(faults_of(w).block, 9) << s.bad;
  }
  for (const Scheme& scheme : {kU4Zero, kU2Zero, kU8Zero}) {
    const int highest = scheme.code_dtype == GATUN_U4 ? 15 : scheme.code_dtype == GATUN_U2 ? 3 : 255;
    Weights w(rng, faulty(scheme, GATUN_F32));
    w.zero_points[11] = static_cast<uint8_t>(highest);
    EXPECT_EQ(faults_of(w).block, -1);
    if (highest == 255) continue;
    w.zero_points[11] = static_cast<uint8_t>(highest + 1);
    EXPECT_EQ(faults_of(w).block, 11);
  }
}

TEST(Form, FaultyCodes) {
  Rng rng;
  for (const bool e4m3 : {true, false}) {
    Weights w(rng, faulty(e4m3 ? kE4M3 : kE5M2, GATUN_F32));
    w.codes[777] = e4m3 ? 0xff : 0x7c;
    w.codes[778] = e4m3 ? 0x7f : 0xfd;
    EXPECT_EQ(faults_of(w).value, 777);
    EXPECT_EQ(faults_of(w).block, -1);
    w.codes[777] = e4m3 ? 0xfe : 0xfb;
    EXPECT_EQ(faults_of(w).value, 778);
  }
  Weights indices(rng, faulty(kBook256, GATUN_F32));  // of which none is NaN
  indices.codes[3] = 0xff;
  EXPECT_EQ(faults_of(indices).value, -1);
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
