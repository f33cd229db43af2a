#include "sim/base/stats.h"
