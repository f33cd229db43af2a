#include "sim/policy/expert_selection.h"
