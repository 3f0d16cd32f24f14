// Results: lines of a table, records of a file, and what was to be reached.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "device.h"
#include "timing.h"

namespace gatun::bench {

// As the records of the Java bench (bench/), without threads.
struct Record {
  std::string op, name, impl;
  std::string metric, unit;
  Summary value;
  std::optional<double> percent_of_limit;
  std::optional<double> ratio_to_peer;  // time of cuBLAS in bf16 over this one: above 1, this is faster
  std::optional<double> rel_error;      // ||y - expected|| / ||expected|| over sampled outputs
  std::string kernel, timed;
};

struct Target {
  std::string name;  // of the case
  std::string what;
  double at_least;
  std::optional<double> measured;

  bool reached() const { return measured && *measured >= at_least; }
};

class Records {
 public:
  // Keeps it, and prints its line.
  void add(const Record& record);
  void add(const Target& target) { targets_.push_back(target); }

  void print_targets() const;

  // A file of JSON, which is there as a whole or not at all.
  bool write(const std::string& path, const std::vector<std::pair<std::string, std::string>>& facts) const;

  const std::vector<Record>& all() const { return records_; }

 private:
  std::vector<Record> records_;
  std::vector<Target> targets_;
};

void print_heading(const std::string& op);

// A string of JSON, quotes included.
std::string json_string(const std::string& text);

}  // namespace gatun::bench
