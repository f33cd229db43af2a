#include "sim/model/lower.h"
