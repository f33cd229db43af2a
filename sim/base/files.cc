#include "sim/base/files.h"
