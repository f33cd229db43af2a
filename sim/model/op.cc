#include "sim/model/op.h"
