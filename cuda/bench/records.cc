#include "records.h"

#include <cmath>
#include <cstdio>

namespace gatun::bench {
namespace {

std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

std::string number(const std::optional<double>& value) { return value ? number(*value) : "null"; }

// Right-aligned, or empty.
std::string column(const std::optional<double>& value, const char* format, int width) {
  char text[64] = "";
  if (value) std::snprintf(text, sizeof(text), format, *value);
  char padded[96];
  std::snprintf(padded, sizeof(padded), "%*s", width, text);
  return padded;
}

}  // namespace

std::string json_string(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", c);
      result += escaped;
    } else {
      result += c;
    }
  }
  return result + "\"";
}

void print_heading(const std::string& op) {
  std::printf("\n%-48s %-20s %12s %23s %-8s %9s %9s %9s\n", op.c_str(), "who", "median", "min .. max", "", "% limit",
              "x cuBLAS", "error");
}

void Records::add(const Record& record) {
  records_.push_back(record);
  char range[64];
  std::snprintf(range, sizeof(range), "%.4g .. %.4g", record.value.min, record.value.max);
  std::printf("%-48s %-20s %12.4g %23s %-8s %s %s %s\n", record.name.c_str(), record.impl.c_str(), record.value.median,
              range, record.unit.c_str(), column(record.percent_of_limit, "%.1f", 9).c_str(),
              column(record.ratio_to_peer, "%.2f", 9).c_str(), column(record.rel_error, "%.1e", 9).c_str());
  std::fflush(stdout);
}

void Records::print_targets() const {
  if (targets_.empty()) return;
  std::printf("\n%-48s %-28s %10s %10s\n", "to reach", "what", "at least", "measured");
  for (const Target& target : targets_) {
    std::printf("%-48s %-28s %10.4g %10s %s\n", target.name.c_str(), target.what.c_str(), target.at_least,
                target.measured ? number(std::round(*target.measured * 100) / 100).c_str() : "-",
                target.reached()  ? "reached"
                : target.measured ? "NOT REACHED"
                                  : "not measured");
  }
}

bool Records::write(const std::string& path, const std::vector<std::pair<std::string, std::string>>& facts) const {
  const std::string draft = path + ".new";
  std::FILE* file = std::fopen(draft.c_str(), "w");
  if (file == nullptr) return false;
  std::fprintf(file, "{\n");
  for (const auto& [name, json] : facts) std::fprintf(file, "  %s: %s,\n", json_string(name).c_str(), json.c_str());
  std::fprintf(file, "  \"targets\": [");
  const char* separator = "\n";
  for (const Target& target : targets_) {
    std::fprintf(file, "%s    {\"case\": %s, \"what\": %s, \"at_least\": %s, \"measured\": %s, \"reached\": %s}",
                 separator, json_string(target.name).c_str(), json_string(target.what).c_str(),
                 number(target.at_least).c_str(), number(target.measured).c_str(), target.reached() ? "true" : "false");
    separator = ",\n";
  }
  std::fprintf(file, "\n  ],\n  \"records\": [");
  separator = "\n";
  for (const Record& record : records_) {
    std::fprintf(
        file,
        "%s    {\"op\": %s, \"case\": %s, \"impl\": %s, \"metric\": %s, \"unit\": %s, \"median\": %s, \"min\": %s, "
        "\"max\": %s, \"percent_of_limit\": %s, \"ratio_to_cublas_bf16\": %s, \"rel_error\": %s, \"kernel\": %s, "
        "\"timed\": %s}",
        separator, json_string(record.op).c_str(), json_string(record.name).c_str(), json_string(record.impl).c_str(),
        json_string(record.metric).c_str(), json_string(record.unit).c_str(), number(record.value.median).c_str(),
        number(record.value.min).c_str(), number(record.value.max).c_str(), number(record.percent_of_limit).c_str(),
        number(record.ratio_to_peer).c_str(), number(record.rel_error).c_str(), json_string(record.kernel).c_str(),
        json_string(record.timed).c_str());
    separator = ",\n";
  }
  std::fprintf(file, "\n  ]\n}\n");
  const bool written = std::ferror(file) == 0;
  if (std::fclose(file) != 0 || !written) return false;
  return std::rename(draft.c_str(), path.c_str()) == 0;
}

}  // namespace gatun::bench
