#include "sim/metrics/summary.h"
