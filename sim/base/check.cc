#include "sim/base/check.h"
