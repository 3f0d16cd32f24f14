// Memory of whole huge pages, and what the system says about it.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace gatun::test {

inline bool system_has_huge_pages() { return std::filesystem::exists("/sys/kernel/mm/transparent_hugepage"); }

class HugeMap {
 public:
  static constexpr size_t kHugePage = size_t{2} << 20;

  // `huge_pages` of them, between inaccessible ones: the system tells mappings apart by their neighbours' access.
  explicit HugeMap(size_t huge_pages) : bytes_(huge_pages * kHugePage), mapped_(bytes_ + 2 * kHugePage) {
    base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    EXPECT_NE(base_, MAP_FAILED);
    data_ = base_ + kHugePage - reinterpret_cast<uintptr_t>(base_) % kHugePage;
    EXPECT_EQ(mprotect(data_, bytes_, PROT_READ | PROT_WRITE), 0);
  }
  HugeMap(const HugeMap&) = delete;
  HugeMap& operator=(const HugeMap&) = delete;
  ~HugeMap() { munmap(base_, mapped_); }

  char* data() const { return data_; }
  int64_t bytes() const { return static_cast<int64_t>(bytes_); }

  // Of the pages from data() on that were advised alike.
  bool advised() const { return (smaps("VmFlags:") + " ").find(" hg ") != std::string::npos; }
  long long huge_bytes() const { return std::stoll(smaps("AnonHugePages:")) * 1024; }

 private:
  // What follows `field` in the system's description of the first page.
  std::string smaps(const std::string& field) const {
    std::ifstream maps("/proc/self/smaps");
    const uintptr_t wanted = reinterpret_cast<uintptr_t>(data_);
    bool inside = false;
    for (std::string line; std::getline(maps, line);) {
      unsigned long begin, end;
      if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) inside = begin <= wanted && wanted < end;
      if (inside && line.rfind(field, 0) == 0) return line.substr(field.size());
    }
    ADD_FAILURE() << "no " << field << " in /proc/self/smaps";
    return "0";
  }

  const size_t bytes_, mapped_;
  char *base_, *data_;
};

}  // namespace gatun::test
