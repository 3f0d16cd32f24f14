#include "base/failure.h"

#include <cstdio>

#include "base/status.h"

namespace gatun {

void FirstFailure::note(int32_t status) {
  if (status == GATUN_OK) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (status_ != GATUN_OK) return;
  status_ = status;
  std::snprintf(message_, sizeof(message_), "%s", gatun_last_error());
}

int32_t FirstFailure::result() const { return status_ == GATUN_OK ? GATUN_OK : fail(status_, "%s", message_); }

}  // namespace gatun
