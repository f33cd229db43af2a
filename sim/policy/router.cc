#include "sim/policy/router.h"
