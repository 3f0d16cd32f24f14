// A buffer beside memory that must not be touched.
//
//   Edge::back    [no access][ canaries ........ | elements | offset canaries ][no access]
//   Edge::front   [no access][ offset canaries | elements | ........ canaries ][no access]
//
// With offset 0 the last (first) element touches the inaccessible page: one byte past it faults, be it read or written.
// A write past the other end changes a canary, which the destructor reports; a read there gets canaries, and they are
// NaN as f32, f16 and bf16, so it spoils the result. With an offset the base is aligned to its element only.
//
// The elements start as canaries, too: what a kernel forgets to write stays NaN.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace gatun::test {

enum class Edge { front, back };
inline constexpr Edge kEdges[] = {Edge::front, Edge::back};

// The bytes and pages of GuardBuffer, without the element type.
class GuardPages {
 public:
  GuardPages(size_t bytes, Edge edge, size_t offset_bytes);
  ~GuardPages();
  GuardPages(const GuardPages&) = delete;
  GuardPages& operator=(const GuardPages&) = delete;

  unsigned char* data() { return data_; }
  const unsigned char* data() const { return data_; }

  // False once a byte outside of the elements, on the accessible pages, was written.
  bool intact() const;
  // Faults on writes from now on.
  void make_read_only();

 private:
  unsigned char canary(const unsigned char* at) const;

  unsigned char* mapping_;  // the first inaccessible page
  unsigned char* begin_;    // accessible pages
  unsigned char* end_;
  unsigned char* data_;
  size_t bytes_;
};

template <class T>
class GuardBuffer {
 public:
  explicit GuardBuffer(int64_t count, Edge edge = Edge::back, int64_t offset = 0)
      : count_(count), pages_(static_cast<size_t>(count) * sizeof(T), edge, static_cast<size_t>(offset) * sizeof(T)) {}

  // Holds a copy of `values`; for an input, call make_read_only() as well.
  explicit GuardBuffer(const std::vector<T>& values, Edge edge = Edge::back, int64_t offset = 0)
      : GuardBuffer(static_cast<int64_t>(values.size()), edge, offset) {
    if (!values.empty()) std::memcpy(data(), values.data(), values.size() * sizeof(T));
  }

  ~GuardBuffer() { EXPECT_TRUE(pages_.intact()) << "bytes beside a buffer of " << count_ << " elements were written"; }

  T* data() { return reinterpret_cast<T*>(pages_.data()); }
  const T* data() const { return reinterpret_cast<const T*>(pages_.data()); }
  int64_t size() const { return count_; }
  T& operator[](int64_t index) { return data()[index]; }
  const T& operator[](int64_t index) const { return data()[index]; }
  std::vector<T> copy() const { return std::vector<T>(data(), data() + count_); }

  bool intact() const { return pages_.intact(); }
  GuardBuffer& make_read_only() {
    pages_.make_read_only();
    return *this;
  }

 private:
  int64_t count_;
  GuardPages pages_;
};

}  // namespace gatun::test
