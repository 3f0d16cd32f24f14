#include <gatun/gatun.h>
#include <stdio.h>

/* Fails unless headers and library are of one ABI. */
int main(void) {
  printf("gatun %s, tier %s\n", gatun_version(), gatun_tier_name(gatun_tier()));
  return gatun_abi_version() == GATUN_ABI_VERSION ? 0 : 1;
}
