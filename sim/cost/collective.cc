#include "sim/cost/collective.h"
