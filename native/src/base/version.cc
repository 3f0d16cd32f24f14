#include "gatun/gatun.h"

int32_t gatun_abi_version() { return GATUN_ABI_VERSION; }

const char* gatun_version() { return GATUN_VERSION; }
