#include "sim/cost/features.h"
