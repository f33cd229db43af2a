#include "sim/model/model_spec.h"
