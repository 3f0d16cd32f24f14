#include "base/packed.h"

#include <cstring>

#include "base/check.h"
#include "base/status.h"

namespace gatun {
namespace {

constexpr int64_t kHeaderBytes = sizeof(PackedHeader);  // of every format

const char* packer_of(PackedFormat format) {
  switch (format) {
    case PackedFormat::qmatmul:
      return "gatun_qmatmul_pack";
    case PackedFormat::nm_matmul:
      return "gatun_nm_pack";
    case PackedFormat::cuda_qmatmul:
      return "gatun_cuda_qmatmul_pack";
    case PackedFormat::cuda_nm_matmul:
      return "gatun_cuda_nm_pack";
  }
  return "no function of this library";
}

}  // namespace

int32_t check_packed_prefix(const void* packed, int64_t packed_bytes, PackedFormat format) {
  GATUN_TRY(check_not_null(packed, "packed"));
  if (packed_bytes < kHeaderBytes) {
    return fail(GATUN_INVALID_ARGUMENT, "packed_bytes = %lld; allowed: at least the %lld bytes of a header",
                static_cast<long long>(packed_bytes), static_cast<long long>(kHeaderBytes));
  }
  PackedPrefix prefix;
  std::memcpy(&prefix, packed, sizeof(prefix));
  if (prefix.magic != kPackedMagic) {
    return fail(GATUN_INVALID_ARGUMENT, "packed is not a buffer of %s (it starts with 0x%016llx)", packer_of(format),
                static_cast<unsigned long long>(prefix.magic));
  }
  if (prefix.format != format) {
    return fail(GATUN_INVALID_ARGUMENT, "packed has format %u, of %s; allowed: format %u, of %s",
                static_cast<unsigned>(prefix.format), packer_of(prefix.format), static_cast<unsigned>(format),
                packer_of(format));
  }
  if (prefix.version == kPackedVersion) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "packed has version %u of the packed form of %s; allowed: version %u",
              prefix.version, packer_of(format), kPackedVersion);
}

int32_t check_packed_room(const void* packed, int64_t packed_bytes, int64_t needed) {
  GATUN_TRY(check_not_null(packed, "packed"));
  if (packed_bytes >= needed) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "packed_bytes = %lld; these weights need %lld",
              static_cast<long long>(packed_bytes), static_cast<long long>(needed));
}

int32_t check_packed_size(int64_t packed_bytes, int64_t said, int64_t needed) {
  if (said == needed && packed_bytes >= needed) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "packed holds %lld bytes and its header says %lld; its weights need %lld",
              static_cast<long long>(packed_bytes), static_cast<long long>(said), static_cast<long long>(needed));
}

}  // namespace gatun
