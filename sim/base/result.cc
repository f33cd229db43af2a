#include "sim/base/result.h"
