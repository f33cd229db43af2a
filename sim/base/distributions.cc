#include "sim/base/distributions.h"
