#include "sim/cost/step_cost.h"
