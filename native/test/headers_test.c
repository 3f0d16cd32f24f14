/* All headers in one C11 translation unit; that it compiles is the test. */
#include "gatun/calibrate.h"
#include "gatun/gatun.h"
#include "gatun/norm.h"
#include "gatun/packing.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"
#include "gatun/status.h"
#include "gatun/types.h"
