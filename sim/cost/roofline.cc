#include "sim/cost/roofline.h"
