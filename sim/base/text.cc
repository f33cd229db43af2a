#include "sim/base/text.h"
